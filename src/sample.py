"""Draw what one run has learned: reconstructions, samples, the map of its latent space, its codes, style transfers."""

import argparse
import csv
from pathlib import Path

import numpy as np
import torch

from atlas import settings as settings_file
from atlas.datasets import Dataset, Split, to_unit
from atlas.device import machine
from atlas.errors import run_stage
from atlas.files import need, whole_folder
from atlas.latent import decode_bytes, encode_all, map_axes, map_codes
from atlas.models.base import Model
from atlas.settings import SampleSettings
from atlas.show import figures
from atlas.show.page import Caption
from atlas.store import load_model


class Album:
    """The figures of one run, drawn one by one into a folder, each with its caption."""

    def __init__(self, run: str, model: Model, classes: list[str], test: Split, settings: SampleSettings, folder: Path):
        self.run, self.model, self.classes, self.test = run, model, classes, test
        self.settings, self.folder = settings, folder
        self.device = test.images.device
        self.captions: list[Caption] = []
        self.labels = list(range(len(classes))) if model.conditional else [0]
        self.names = classes if model.conditional else [""]
        # Of a model that cannot encode, the first two dimensions are as good as any.
        self.codes = encode_all(model, to_unit(test.images), test.labels) if model.can("encode") else None
        self.axes = list(range(min(2, model.latent_dim))) if self.codes is None else active_axes(self.codes)

    def draw(self) -> None:
        """Draw every figure that this model can give."""
        self.samples()
        if self.model.can("encode"):
            self.reconstructions()
        self.maps()
        if self.model.can("encode"):
            self.scatter()
        if self.model.can("encode") and self.model.conditional:
            self.transfers()
        figures.write_captions(self.folder, self.captions)

    def reconstructions(self) -> None:
        chosen = self._balanced(self.settings.reconstructions)
        labels = self.test.labels[chosen]
        codes = encode_all(self.model, to_unit(self.test.images[chosen]), labels)
        rebuilt = decode_bytes(self.model, codes, labels.cpu(), self.device)
        path = self._add(
            "reconstructions.png",
            "Test images over their reconstructions",
            "pairs of rows: test images above, the same images decoded from their codes below",
        )
        figures.reconstructions(path, self._images(chosen), rebuilt, self._title(path))

    def samples(self) -> None:
        # An unconditional model has one row of samples: as many as a conditional one draws of all labels together.
        count = self.settings.per_label * (1 if self.model.conditional else len(self.classes))
        codes = torch.randn(count, self.model.latent_dim, generator=torch.Generator().manual_seed(0))
        images = np.stack([decode_bytes(self.model, codes, label, self.device) for label in self.labels])
        what = "one row a label, the same codes in every row" if self.model.conditional else "the label is not chosen"
        path = self._add("samples.png", "Samples: codes drawn from N(0, I)", f"generated images; {what}")
        figures.samples(path, images, self.names, self._title(path))

    def maps(self) -> None:
        side, quantile = self.settings.map_steps, self.settings.map_quantile
        seen = None if self.model.has_prior or self.codes is None else self.codes[:, self.axes]
        first, second = map_axes(side, quantile, seen)
        codes = torch.zeros(side * side, self.model.latent_dim)
        codes[:, self.axes] = map_codes(first, second, len(self.axes))
        pictures = [
            decode_bytes(self.model, codes, label, self.device).reshape(side, side, *self.model.shape)
            for label in self.labels
        ]
        where = "at equal steps of probability of N(0, 1)" if seen is None else "over the region that the codes occupy"
        rest = "" if self.model.latent_dim <= 2 else ", the other dimensions zero"
        what = "code dimensions" if self.axes == [0, 1] else "active code dimensions"
        if self.model.conditional:
            path = self._add(
                "maps.png",
                f"Maps of the first two {what}, every label",
                f"for each label a grid of decoded images, {where}{rest}",
            )
            figures.latent_maps(path, np.stack(pictures), self.classes, self._title(path))
        for label, picture in zip(self.labels, pictures, strict=True):
            of = f", label {self.classes[label]}" if self.model.conditional else ""
            path = self._add(
                f"map_{label}.png" if of else "map.png",
                f"Map of the first two {what}{of}",
                f"{side} by {side} images decoded from codes {where}{rest}",
            )
            figures.latent_map(path, picture, first.numpy(), second.numpy(), self._title(path))

    def scatter(self) -> None:
        count = min(self.settings.scatter, len(self.test))
        assert self.codes is not None
        codes, labels = self.codes[:count, self.axes], self.test.labels[:count]
        # A code of one dimension lies on a line.
        codes = torch.nn.functional.pad(codes, (0, 2 - len(self.axes)))
        which = "first two dimensions" if self.axes == [0, 1] else "first two active dimensions"
        path = self._add(
            "codes.png",
            f"Codes of test images, {which}",
            f"scatter of {count} codes coloured by label, with each class's name at its median",
        )
        limits = 5.0 if self.model.has_prior else None
        figures.latent_scatter(path, codes.numpy(), labels.cpu().numpy(), self.classes, self._title(path), limits)

    def transfers(self) -> None:
        # Sevens for digits, as in the seed; of other data a few of every class.
        seven = self.classes.index("7") if "7" in self.classes else None
        if seven is None:
            chosen = self._balanced(self.settings.transfers)
        else:
            chosen = torch.nonzero(self.test.labels == seven).flatten()[: self.settings.transfers]
        labels = self.test.labels[chosen]
        codes = encode_all(self.model, to_unit(self.test.images[chosen]), labels)
        images = np.stack([decode_bytes(self.model, codes, label, self.device) for label in self.labels], axis=1)
        path = self._add(
            "transfer.png",
            "Style transfer: the code of each test image, decoded with every label",
            "top row: test images; below, a row for each label in the style of the image above",
        )
        names = [self.classes[label] for label in labels.tolist()]
        figures.style_transfer(path, self._images(chosen), names, images, self.classes, self._title(path))

    def _balanced(self, count: int) -> torch.Tensor:
        """Return the places of `count` test images, class after class in turn, the first of each that come."""
        places = [torch.nonzero(self.test.labels == label).flatten() for label in range(len(self.classes))]
        turns = (place[turn : turn + 1] for turn in range(max(map(len, places))) for place in places)
        return torch.cat(list(turns))[:count]

    def _images(self, chosen: torch.Tensor) -> np.ndarray:
        return self.test.images[chosen].cpu().numpy()

    def _add(self, file: str, title: str, alt: str) -> Path:
        self.captions.append({"file": file, "title": title, "alt": f"{self.run}: {alt}"})
        return self.folder / file

    def _title(self, path: Path) -> str:
        title = next(caption["title"] for caption in self.captions if caption["file"] == path.name)
        return f"{self.run} · {title}"


def active_axes(codes: torch.Tensor, least: float = 0.01) -> list[int]:
    """Return the first two dimensions of codes [N, d] that carry something, in their order.

    A dimension is active if its code varies by more than `least` between images (Burda et al. 2016, section 5.1): of
    128 dimensions many are not, and a map of two that are not is one image many times over. Where fewer than two are
    active, the most varying ones are taken.
    """
    variance = codes.var(0)
    found = torch.nonzero(variance > least).flatten()[:2]
    if len(found) < 2:
        found = variance.argsort(descending=True)[:2].sort().values
    return found.tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="a name under `runs` in params.yaml")
    settings = settings_file.load()
    run = settings.run(parser.parse_args().run)
    computer = machine()
    source = need(Path("outputs/models") / run.key, f"train@{run.key}")
    model, classes = load_model(source, computer.device)
    test = Dataset.open(Path("data") / run.dataset).split("test", computer.device)
    with need(source / "history.csv", f"train@{run.key}").open(encoding="utf-8") as file:
        history = list(csv.DictReader(file))
    target = Path("outputs/samples") / run.key
    with whole_folder(target) as folder:
        album = Album(run.key, model, classes, test, settings.sample, folder)
        figures.loss_curves(
            album._add("losses.png", "Training and validation losses", "one panel a term, nats per image by epoch"),
            history,
            f"{run.key} · Training and validation losses",
        )
        album.draw()
    print(f"{run.key}: {len(album.captions)} figures in {target}")


if __name__ == "__main__":
    run_stage(main)
