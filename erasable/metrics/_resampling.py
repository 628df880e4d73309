"""How far other samples, or another choice of oracles, could have moved a number."""

from collections.abc import Iterator

import torch
from torch import Tensor

from erasable._plumbing.seeds import generator
from erasable.errors import Misaligned
from erasable.evidence import Evidence, aligned

DRAWS = 1000  # bootstrap resamples


def bootstrap(per_sample: Tensor, seed: int, name: str) -> tuple[float, float]:
    """95 % percentile interval of the mean over samples (samples,)."""
    draws, n = generator(seed, name, "bootstrap"), len(per_sample)
    at_once = max(1, 1_000_000 // n)  # resamples per piece: bounded memory
    means = torch.cat([
        per_sample[torch.randint(n, (min(at_once, DRAWS - done), n), generator=draws)].mean(dim=1)
        for done in range(0, DRAWS, at_once)
    ])  # fmt: skip
    low, high = torch.quantile(means, torch.tensor([0.025, 0.975], dtype=means.dtype)).tolist()
    return low, high


def ensembles(target: Evidence, oracles: Evidence, *, least: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The values of both, (models, samples) float64 on the CPU. Raises Misaligned, PopulationTooSmall."""
    aligned(target, oracles, at_least=least[1])
    aligned(oracles, target, at_least=least[0])
    if target.values.dim() != 2 or oracles.values.dim() != 2:
        raise Misaligned(f"signal '{target.signal}' with several numbers per sample", expected="one, such as margin",
                         do="reduce it with one of the signals")  # fmt: skip
    return target.values.double().cpu(), oracles.values.double().cpu()


def against_half(target: Tensor, oracles: Tensor, *, splits: int, seed: int, name: str) -> Iterator[tuple[Tensor, ...]]:
    """Triples (some of the target's models, as many of one half of the oracles, the other half), `splits` times.

    The distance between two ensembles depends on how many models they have, also where nothing differs. So the target
    and its noise floor are measured with equal numbers, against the same oracles.
    """
    half = len(oracles) // 2
    size = min(len(target), half)
    draws = generator(seed, name, "splits")
    for _ in range(splits):
        order = torch.randperm(len(oracles), generator=draws)
        chosen = torch.randperm(len(target), generator=draws)[:size]
        yield target[chosen], oracles[order[:size]], oracles[order[len(oracles) - half :]]
