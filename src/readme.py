"""Bring the README's results table and pictures up to date with `results/` and `outputs/`."""

import argparse
import re
import shutil
from pathlib import Path

from atlas.errors import AtlasError, run_stage
from atlas.files import need, whole_file

README = Path("README.md")
PICTURES = Path("results/pictures")
SHOWN = {
    "transfer_cvae.png": "outputs/samples/mnist_cvae_8/transfer.png",
    "transfer_cvae_gan.png": "outputs/samples/mnist_cvae_gan_8/transfer.png",
    "map_cvae_gan.png": "outputs/samples/mnist_cvae_gan_2/map_3.png",
    "training.gif": "outputs/animations/mnist_cvae_gan_2/label_3.gif",
}


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    table = need(Path("results/table.md"), "compare").read_text(encoding="utf-8")
    text = need(README, "nothing: it comes with the repository").read_text(encoding="utf-8")
    text, found = re.subn(
        r"(<!-- table -->\n).*?(<!-- end of table -->)", lambda match: f"{match[1]}{table}{match[2]}", text, flags=re.S
    )
    if found != 1:
        raise AtlasError("README.md: found no lines `<!-- table -->` and `<!-- end of table -->`")
    with whole_file(README) as aside:
        aside.write_text(text, encoding="utf-8")
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name, source in SHOWN.items():
        stage = f"{'animate' if 'animations' in source else 'sample'}@{Path(source).parent.name}"
        shutil.copyfile(need(Path(source), stage), PICTURES / name)
    print(f"README.md: table and {len(SHOWN)} pictures")


if __name__ == "__main__":
    run_stage(main)
