"""The nearest step that no gradient objects to.

    D = argmin |D - D0|_M^2 / 2   subject to   g_i . D <= 0   for every column g_i
      = D0 - M^-1 G lambda,   lambda >= 0 the smallest of  lambda^T K lambda / 2 - lambda^T G^T D0,   K = G^T M^-1 G

Columns, steps and 1 / M are vectors (one tensor per parameter, see `gradients`); 1 / M is 0 for what cannot move. Sums
are in double precision, one parameter at a time.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from erasable._plumbing.gradients import Vector

RANK = 1e-12  # of the largest eigenvalue of K, scaled to a diagonal of ones: below, columns are multiples of others


def products(columns: Sequence[Vector], step: Vector, weights: Vector | None = None) -> Tensor:
    """g_i . step, each weight counted as `weights` says, (columns,)."""
    found = torch.zeros(len(columns), dtype=torch.float64)
    for k, each in enumerate(step):
        rows = torch.stack([column[k].flatten() for column in columns]).double()
        heavy = each.flatten().double() if weights is None else (each * weights[k]).flatten().double()
        found += (rows @ heavy).cpu()
    return found


def gram(columns: Sequence[Vector], inverse: Vector) -> Tensor:
    """K, (columns, columns)."""
    found = torch.zeros(len(columns), len(columns), dtype=torch.float64)
    for k, each in enumerate(inverse):
        rows = torch.stack([column[k].flatten() for column in columns]).double()
        found += ((rows * each.flatten().double()) @ rows.T).cpu()
    return found


def basis(square: Tensor) -> Tensor:
    """W with W^T K W = 1, (columns, rank): G W is orthonormal in the metric."""
    scale = square.diagonal().clamp_min(0).sqrt()
    scale = torch.where(scale > 0, 1 / scale, 0.0)
    size, vectors = torch.linalg.eigh(scale[:, None] * square * scale)
    large = size > RANK * size[-1].clamp_min(torch.finfo(size.dtype).tiny)
    found: Tensor = scale[:, None] * vectors[:, large] / size[large].sqrt()
    return found


def multipliers(square: Tensor, against: Tensor) -> Tensor:
    """lambda for K and G^T D0, (columns,); exact up to rounding, whatever the rank of K."""
    from scipy.optimize import nnls

    if not bool((against > 0).any()):
        return torch.zeros_like(against)
    scale = square.diagonal().clamp_min(0).sqrt()
    scale = torch.where(scale > 0, 1 / scale, 0.0)
    w = basis(square)  # K = (W^+)^T W^+, so that the problem is |W^+ lambda - W^T G^T D0|^2
    half = w.T @ square * scale  # W^+ in scaled unknowns
    found, _ = nnls(half.numpy(), (w.T @ against).numpy())
    return torch.from_numpy(found) * scale


def combined(columns: Sequence[Vector], by: Tensor) -> Vector:
    """The sum of the columns, each times its number."""
    numbers = by.tolist()
    return tuple(
        torch.stack([part * number for part, number in zip(parts, numbers, strict=True)]).sum(0)
        for parts in zip(*columns, strict=True)
    )
