"""The judge: predictions that do not depend on the batch, learning and augmentation."""

import torch
from torch import nn

from atlas.core.model import Shape
from atlas.metrics.classifier import FEATURES, ROTATIONS, Judge, augment, classify, rotate


def test_the_judge_classifies_any_shape_the_same_in_any_batch(shape: Shape) -> None:
    torch.manual_seed(0)
    judge = Judge(shape, 10, 8).train()
    images = torch.rand(7, *shape)
    features, labels = classify(judge, images)
    assert features.shape == (7, FEATURES) and labels.shape == (7,) and not judge.training
    torch.testing.assert_close(judge(images).argmax(1), labels)
    torch.testing.assert_close(classify(judge, images[:2])[0], features[:2])


def test_the_judge_can_learn() -> None:
    torch.manual_seed(0)
    labels = torch.arange(60) % 3
    images = 0.2 * torch.rand(60, 1, 12, 12)
    images[torch.arange(60), 0, 4 * labels + 1] += 0.8
    judge = Judge((1, 12, 12), 3, 8)
    optimizer = torch.optim.Adam(judge.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(judge(images), labels).backward()
        optimizer.step()
    assert torch.equal(classify(judge, images)[1], labels)


def test_augmentation_shifts_a_batch_and_mirrors_half_of_it_and_nothing_else() -> None:
    images = torch.rand(40, 1, 9, 9, generator=torch.Generator().manual_seed(0))
    # With an empty border of two, a shift is a roll.
    images[:, :, :2] = images[:, :, -2:] = images[..., :2] = images[..., -2:] = 0
    shifts, mirrored = set(), 0
    for seed in range(30):
        shifted = augment(images, False, torch.Generator().manual_seed(seed))
        candidates = [(down, right) for down in range(-2, 3) for right in range(-2, 3)]
        (shift,) = [shift for shift in candidates if torch.equal(shifted, images.roll(shift, (2, 3)))]
        shifts.add(shift)
        augmented = augment(images, True, torch.Generator().manual_seed(seed))
        same = (augmented == shifted).flatten(1).all(1)
        assert (same | (augmented == shifted.flip(3)).flatten(1).all(1)).all()
        mirrored += int((~same).sum())
    assert len(shifts) > 12 and 0.4 < mirrored / (30 * 40) < 0.6


def test_rotations_turn_the_square_middle_and_can_be_told(shape: Shape) -> None:
    images = torch.rand(8, *shape, generator=torch.Generator().manual_seed(0))
    quarters = torch.arange(8) % ROTATIONS
    turned = rotate(images, quarters)
    side = min(shape[1:])
    top, left = (shape[1] - side) // 2, (shape[2] - side) // 2
    for image, result, count in zip(images, turned, quarters.tolist(), strict=True):
        assert torch.equal(result, image[:, top : top + side, left : left + side].rot90(count, (1, 2)))
    torch.manual_seed(0)
    judge = Judge(shape, 0, 8)
    optimizer = torch.optim.Adam(judge.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(judge(turned), quarters).backward()
        optimizer.step()
    assert torch.equal(classify(judge, turned)[1], quarters)
