"""The one exception for what a user can mend, and the wrapper that shows it as one line."""

import signal
import sys
from collections.abc import Callable


class AtlasError(Exception):
    """A mistake a user can mend: its message says what was found, where, and what to do."""


def run_stage(main: Callable[[], None]) -> None:
    """Run a stage script's `main`; a mistake the user can mend ends it with one line and exit status 1.

    So does SIGTERM, as Ctrl-C: what the stage has not finished is cleared away.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main()
    except AtlasError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted: run the same command again to go on")
