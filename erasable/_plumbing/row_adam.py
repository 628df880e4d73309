"""Adam for a table of which a step reads a few rows: only these move, and only their moments decay."""

import torch
from torch import Tensor

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


def adam_step(
    table: Tensor,
    first: Tensor,
    second: Tensor,
    steps: Tensor,
    at: Tensor,
    gradient: Tensor,
    *,
    lr: float,
) -> None:
    """One step of the rows `at` (touched,), without repeats, by `gradient` (touched, width), in place.

    table, first, second  (rows, width): what is trained, and its two moments
    steps                 (rows,) int64: how often a row was touched, the age that its moments are corrected for

    A row is trained as if it had an Adam of its own.

    Kingma, Ba: Adam, a method for stochastic optimization (2014, arXiv:1412.6980).
    """
    age = steps[at] + 1
    m = torch.lerp(first[at], gradient, 1 - BETA1)
    v = torch.lerp(second[at], gradient.square(), 1 - BETA2)
    power = age[:, None].to(m.dtype)
    table[at] -= lr * (m / (1 - BETA1**power)) / ((v / (1 - BETA2**power)).sqrt() + EPSILON)
    first[at], second[at], steps[at] = m, v, age
