"""Fast forms of two convolutions: the same weights, the same result, in a half to a fifth of the time.

Both trade pixels for channels: processors multiply matrices fastest with many channels and few, dense taps.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad, pixel_shuffle, pixel_unshuffle


class UpsampledConv2d(nn.Conv2d):
    """Nearest-neighbor upsampling by two, then an odd-sized "same" convolution, without the large image between.

    Most taps of the convolution meet pixels that are copies of one another. Summed beforehand they leave, for each of
    the four pixels that a small one becomes, a convolution of the small image: 3 x 3 in place of 5 x 5.
    """

    sums: Tensor

    def __init__(self, inputs: int, outputs: int, size: int, bias: bool = True) -> None:
        """`size`: the side of the kernel, odd."""
        if size % 2 == 0:
            raise ValueError(f"size: found {size}; allowed: odd numbers")
        super().__init__(inputs, outputs, size, padding=size // 2, bias=bias)
        # Tap t of output pixel 2i + phase falls on small pixel i + floor((phase + t) / 2).
        self.reach = (size // 2 + 1) // 2
        small = 2 * self.reach + 1
        sums = torch.zeros(2, small, size)
        for phase in (0, 1):
            for tap in range(size):
                sums[phase, (phase + tap - size // 2) // 2 + self.reach, tap] = 1
        both = torch.einsum("pay,qbx->pqabyx", sums, sums)
        self.register_buffer("sums", both.reshape(4 * small**2, size**2), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Pictures [N, inputs, H, W] to [N, outputs, 2 H, 2 W]."""
        small = 2 * self.reach + 1
        taps = self.weight.permute(0, 2, 3, 1).flatten(1, 2)
        # Sums of weights are taken in their own precision, not in autocast's.
        with torch.autocast(images.device.type, enabled=False):
            kernels = (self.sums.to(taps.dtype) @ taps).view(-1, small, small, self.in_channels).permute(0, 3, 1, 2)
        bias = None if self.bias is None else self.bias.repeat_interleave(4)
        return pixel_shuffle(conv2d(images, kernels, bias, padding=self.reach), 2)


class StridedConv2d(nn.Conv2d):
    """A convolution of stride two with an odd kernel and "same" padding, for images with even sides and few channels.

    Every 2 x 2 pixels become the channels of one, and the kernel, one zero wider, a kernel half the size.
    """

    def __init__(self, inputs: int, outputs: int, size: int) -> None:
        """`size`: the side of the kernel, odd."""
        if size % 2 == 0:
            raise ValueError(f"size: found {size}; allowed: odd numbers")
        super().__init__(inputs, outputs, size, stride=2, padding=size // 2)

    def forward(self, images: Tensor) -> Tensor:
        """Pictures [N, inputs, H, W] to [N, outputs, H / 2, W / 2]."""
        edge = self.kernel_size[0] // 2
        # Windows start at every second place, so whole blocks cover them; the last row of the wider kernel is zero.
        blocks = pixel_unshuffle(pad(images, (edge, edge, edge, edge)), 2)
        return conv2d(blocks, pixel_unshuffle(pad(self.weight, (0, 1, 0, 1)), 2), self.bias)
