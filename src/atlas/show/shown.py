"""The pictures that the README begins with."""

from pathlib import Path

from PIL import Image, ImageSequence

SHOWN = {
    "transfer_cvae.png": "outputs/samples/mnist_cvae_8/transfer.png",
    "transfer_cvae_gan.png": "outputs/samples/mnist_cvae_gan_8/transfer.png",
    "transfer_cgan.png": "outputs/samples/mnist_cgan/transfer.png",
    "training.gif": "outputs/animations/mnist_cvae_2/label_3.gif",
}
"""Each with the output that it is a copy of."""


def thin(source: Path, target: Path, every: int = 3) -> None:
    """Write a GIF with every third of its frames and the last, as long as it was: git keeps each version for good."""
    with Image.open(source) as film:
        frames = [(frame.copy(), frame.info["duration"]) for frame in ImageSequence.Iterator(film)]
    kept = [frame for frame, _ in frames[:-1:every]] + [frames[-1][0]]
    times = [
        sum(time for _, time in frames[start : min(start + every, len(frames) - 1)])
        for start in range(0, len(frames) - 1, every)
    ] + [frames[-1][1]]
    kept[0].save(target, save_all=True, append_images=kept[1:], duration=times, loop=0, optimize=False)
