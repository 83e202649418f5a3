"""Labels that figures show: ten at most, evenly spaced or by name."""

import pytest

from atlas.core.files import AtlasError
from atlas.core.schema import shown_labels

LETTERS = [chr(ord("A") + place) for place in range(26)]


def test_ten_labels_are_shown_at_most() -> None:
    assert shown_labels("", None, LETTERS[:10]) == list(range(10)) and shown_labels("", None, []) == []
    shown = shown_labels("", None, LETTERS)
    assert len(shown) == 10 and shown[0] == 0 and shown[-1] == 25 and shown == sorted(set(shown))
    assert len(set(shown_labels("", None, [str(label) for label in range(11)]))) == 10


def test_labels_are_chosen_by_name() -> None:
    assert shown_labels("", ["Q", "A"], LETTERS) == [0, 16]
    assert shown_labels("", [7], [str(label) for label in range(10)]) == [7], "a number is a name too"
    with pytest.raises(AtlasError, match=r"shown_labels.letters: found 'AA', did you mean 'A'\?; allowed: A, B"):
        shown_labels("shown_labels.letters", ["AA"], LETTERS)
