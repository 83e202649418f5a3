"""scripts/restyle.py: what it prints and draws, and what it refuses."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scripts import restyle
from tests.conftest import ROOT
from tests.inference.test_own_image import draw_four
from tests.saved import save_run

import atlas
from atlas.core.datasets import Dataset
from atlas.core.files import AtlasError
from download import download_dataset
from train_judge import train_judge

GREY = (1, 28, 28)
Command = Callable[..., None]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a CVAE, untrained, of the digits, and their judge, trained at scale smoke."""
    home = tmp_path_factory.mktemp("home")
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    (home / "params.yaml").write_text(re.sub(r"(?m)^scale: \w+", "scale: smoke", text), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setenv("ATLAS_DEVICE", "cpu")
        download_dataset("digits")
        train_judge("digits")
    save_run(home / "outputs/models/digits_cvae_2", shape=GREY)
    draw_four().save(home / "four.png")
    Image.new("L", (50, 50), 255).save(home / "white.png")
    return home


@pytest.fixture
def command(home: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """command("digits_cvae_2", "four.png"): scripts/restyle.py with these arguments, in `home`."""
    monkeypatch.chdir(home)
    monkeypatch.setenv("ATLAS_DEVICE", "cpu")

    def run(*arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", ["restyle.py", *arguments])
        restyle.main()

    return run


def test_a_digit_from_a_file_is_read_and_restyled(
    home: Path, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    split = Dataset.open(home / "data/digits").split("test")
    six = split.images[(split.labels == 6).nonzero()[0]][0, 0].numpy()
    Image.fromarray(255 - six).resize((140, 140)).save("six.png")
    command("digits_cvae_2", "six.png")
    assert re.fullmatch(
        r"six\.png: read as 6 \(\d+% sure; --label says otherwise\); its style in 10 labels in restyled\.png\n",
        capsys.readouterr().out,
    )
    # The sheet shows what the model decodes.
    model = atlas.load("digits_cvae_2")
    transferred = model.transfer(model.read_image("six.png"), "6")[0, 8, 0]
    cell = (transferred * 255).round().astype(int).repeat(5, 0).repeat(5, 1)
    with Image.open("restyled.png") as file:
        sheet = np.asarray(file.convert("L")).astype(int)
    corners = np.argwhere(np.abs(sheet[:-139, :-139] - cell[0, 0]) <= 1)
    assert any(np.abs(sheet[y : y + 140, x : x + 140] - cell).max() <= 1 for y, x in corners)
    # A given label is taken.
    command("digits_cvae_2", "six.png", "--label", "3", "--output", "as/three.png")
    assert "given as 3; its style in 10 labels in as/three.png" in capsys.readouterr().out
    assert Path("as/three.png").is_file()
    command("digits_cvae_2", "six.png", "--label", "3", "--labels", "1,7,9")
    assert "its style in 3 labels in restyled.png" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["digits_cvae_22", "four.png"], r"unknown run 'digits_cvae_22', did you mean 'digits_cvae_2'\?"),
        (["mnist_cvae_8", "four.png"], "'mnist_cvae_8' is not trained yet in"),
        (["digits_cvae_2", "nothing.png"], r"nothing\.png: no such file"),
        (["digits_cvae_2", "params.yaml"], r"params\.yaml: not an image"),
        (["digits_cvae_2", "white.png"], r"white\.png: an empty picture: found no ink"),
        (["digits_cvae_2", "four.png", "--label", "four"], "unknown label of digits 'four'; there are: 0, 1"),
        (["digits_cvae_2", "four.png", "--label", "12"], "label: found 12; allowed: 0 to 9"),
        (["digits_cvae_2", "four.png", "--labels", "1,x"], r"--labels: found 'x'; allowed: 0, 1"),
        (["digits_cvae_2", "four.png", "--output", "a.jpg"], r"--output: found 'a\.jpg'; allowed: a name that ends in"),
    ],
)
def test_the_command_refuses(arguments: list[str], words: str, command: Command) -> None:
    with pytest.raises(AtlasError, match=words) as refusal:
        command(*arguments)
    assert "\n" not in str(refusal.value)


def test_of_many_labels_ten_are_drawn(home: Path, command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    classes = [f"label {label}" for label in range(26)]
    save_run(home / "outputs/models/letters_cvae", shape=(3, 16, 32), classes=classes)
    command("letters_cvae", "four.png", "--label", "label 3")
    assert "given as label 3; its style in 10 labels" in capsys.readouterr().out


def test_an_unconditional_model_cannot(home: Path, command: Command) -> None:
    save_run(home / "outputs/models/digits_vae", "vae", GREY)
    with pytest.raises(AtlasError, match=r"digits_vae: vae takes no labels.*allowed: a run of a conditional model"):
        command("digits_vae", "four.png")


def test_without_a_judge_the_label_must_be_given(home: Path, command: Command) -> None:
    judges, elsewhere = home / "outputs/judges", home / "outputs/elsewhere"
    judges.rename(elsewhere)
    with pytest.raises(AtlasError, match="no judge of digits to read the label; give --label, or run `dvc"):
        command("digits_cvae_2", "four.png")
    command("digits_cvae_2", "four.png", "--label", "4")
    elsewhere.rename(judges)
    (judges / "digits/weights.safetensors").write_bytes(b"damaged")
    with pytest.raises(AtlasError, match=r"weights\.safetensors does not fit .*dvc repro --force train_judge@digits"):
        command("digits_cvae_2", "four.png")
