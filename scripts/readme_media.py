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
GIF_BYTES = 3_000_000
"""The most that a GIF may weigh."""


def thin(source: Path, target: Path, every: int = 3, most: int = GIF_BYTES) -> None:
    """Write a GIF with every third of its frames and the last, as long as it was: git keeps each version for good.

    Of one that would be larger than `most` bytes still, as many more frames are left out as it takes.
    """
    with Image.open(source) as film:
        frames = [(frame.copy(), frame.info["duration"]) for frame in ImageSequence.Iterator(film)]
    while True:
        kept = [frame for frame, _ in frames[:-1:every]] + [frames[-1][0]]
        times = [
            sum(time for _, time in frames[start : min(start + every, len(frames) - 1)])
            for start in range(0, len(frames) - 1, every)
        ] + [frames[-1][1]]
        kept[0].save(target, save_all=True, append_images=kept[1:], duration=times, loop=0, optimize=False)
        if target.stat().st_size <= most or every >= len(frames):
            return
        every += 1
