"""Inverse autoregressive flows (Kingma et al. 2016), on masked networks (Germain et al. 2015)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from atlas.nn.layers import SLOPE

GATE = 2.0
"""Added to the gate's logit, so that a fresh step changes the code little (Kingma et al. 2016 use 1 to 2)."""
FIRST = 0.1
"""A fresh network's last weights, as a share of Glorot's."""


class MaskedLinear(nn.Linear):
    """A linear layer of which some weights are always zero."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        """Take mask [outputs, inputs] of 0 and 1."""
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask, persistent=False)
        nn.init.xavier_uniform_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, inputs: Tensor) -> Tensor:
        return functional.linear(inputs, self.weight * self.mask, self.bias)


class Made(nn.Module):
    """Two numbers for each dimension of z, seen from the dimensions before it and from all of a context h.

    Every hidden unit has a degree m and sees z_1..z_m; output i sees the units of degree below i. Degree 0 sees h only.
    """

    def __init__(self, size: int, context: int, units: int) -> None:
        super().__init__()
        # Units fewer than dimensions are spread over them: the last dimensions too are to see nearly all before them.
        degrees = torch.arange(units) % size if units >= size else torch.arange(units) * size // units
        places = torch.arange(1, size + 1)
        self.first = MaskedLinear((degrees[:, None] >= places[None, :]).float())
        self.context = nn.Linear(context, units, bias=False)
        self.second = MaskedLinear((degrees[:, None] >= degrees[None, :]).float())
        self.last = MaskedLinear((places[:, None] > degrees[None, :]).float().repeat(2, 1))
        nn.init.xavier_uniform_(self.context.weight)
        with torch.no_grad():
            self.last.weight.mul_(FIRST)

    def forward(self, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """z [N, d], h [N, context] to m [N, d] and s [N, d], float32."""
        hidden = functional.leaky_relu(self.first(z) + self.context(h), SLOPE)
        hidden = functional.leaky_relu(self.second(hidden), SLOPE)
        m, s = self.last(hidden).float().chunk(2, 1)
        return m, s


class InverseAutoregressiveFlow(nn.Module):
    """T steps of z <- sigma z + (1 - sigma) m with sigma = sigmoid(s + GATE), (m, s) = Made(z, h).

    m_i and s_i see only the dimensions before i, so a step's Jacobian is triangular with sigma on its diagonal. The
    order is reversed between steps, and put back at the end.
    """

    def __init__(self, size: int, context: int, units: int, steps: int) -> None:
        super().__init__()
        self.steps = nn.ModuleList(Made(size, context, units) for _ in range(steps))

    def forward(self, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return the new z [N, d], and log sigma summed over the steps for each of its dimensions [N, d], nats.

        Summed over the dimensions too, the latter is log |det dz'/dz|.
        """
        log_sigma = torch.zeros_like(z)
        for place, step in enumerate(self.steps):
            if place:
                z, log_sigma = z.flip(1), log_sigma.flip(1)
            m, s = step(z, h)
            gate = s + GATE
            sigma = gate.sigmoid()
            z = sigma * z + (1 - sigma) * m
            log_sigma = log_sigma + functional.logsigmoid(gate)
        if len(self.steps) and len(self.steps) % 2 == 0:
            z, log_sigma = z.flip(1), log_sigma.flip(1)
        return z, log_sigma
