"""Differentiable augmentation: what is done to an image, and that batches are changed alike."""

import pytest
import torch

from atlas.nn.augment import augment


def test_batches_are_changed_in_the_same_way_and_each_image_in_another() -> None:
    torch.manual_seed(0)
    images = torch.rand(1, 3, 16, 24).expand(40, -1, -1, -1)
    first, second = augment(images, images.clone())
    assert first.shape == images.shape and torch.equal(first, second)
    assert len({tuple(image.flatten().tolist()) for image in first}) == 40


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_is_moved_mirrored_colored_and_partly_hidden(channels: int) -> None:
    """Each visible pixel is one of the original's, from the same shift for all, by one affine map of its color."""
    torch.manual_seed(1)
    height, width = 16, 24
    images = torch.rand(60, channels, height, width)
    (changed,) = augment(images)
    shifts, mirrored = set(), 0
    for image, result in zip(images, changed, strict=True):
        gray = result.mean(0)
        hidden = (result == 0.5).all(0)
        assert hidden.sum() <= height * width // 4, "a quarter at most"
        found = []
        for flip in (False, True):
            source = image.flip(2) if flip else image
            for down in range(-2, 3):
                for right in range(-3, 4):
                    inside = torch.zeros(height, width, dtype=torch.bool)
                    inside[max(0, -down) : height - max(0, down), max(0, -right) : width - max(0, right)] = True
                    seen = inside & ~hidden
                    moved = source.mean(0).roll((-down, -right), (0, 1))
                    pair = torch.stack([moved[seen], gray[seen]])
                    if torch.corrcoef(pair)[0, 1] > 0.9999:
                        assert (result[:, ~inside & ~hidden] == 0).all(), "black comes in"
                        found.append((flip, down, right))
        assert len(found) == 1
        shifts.add(found[0][1:])
        mirrored += found[0][0]
    assert len(shifts) > 20 and 15 < mirrored < 45


def test_gradients_flow_back_through_it() -> None:
    images = torch.rand(2, 3, 16, 16, dtype=torch.float64, requires_grad=True)

    def changed(batch: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(2)
        return augment(batch)[0]

    assert torch.autograd.gradcheck(changed, images)
