"""Many models of one kind: oracles and shadow models are roles of a population.

An oracle is never one model. Members are trained together (see `train.fit`) in chunks that fit into memory, and member
i equals the model trained alone with seed i.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from erasable._plumbing.seeds import generator, seeded
from erasable.dataset import Dataset
from erasable.errors import PopulationTooSmall, SettingsError
from erasable.train import Objective, Progress, Recipe, fit, fresh
from erasable.unlearner import Method

MEMORY_BUDGET = 2 * 2**30  # bytes that a vectorised chunk may use


@dataclass(frozen=True)
class Population:
    """Models that differ by seed only, and what they are for ("oracle", "original", "shadow")."""

    models: tuple[Any, ...]
    seeds: tuple[int, ...]
    role: str

    def __len__(self) -> int:
        return len(self.models)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.models)


def oracles(
    method: Method, data: Dataset, task: Any, *, seeds: Sequence[int], progress: Progress | None = None
) -> Population:
    """Models that never saw what is not in `data`. Raises PopulationTooSmall for fewer than two seeds."""
    if len(set(seeds)) < 2:
        raise PopulationTooSmall(f"{len(set(seeds))} different oracle seeds", expected="at least 2",
                                 do="give more seeds: one model hides seed noise")  # fmt: skip
    return Population(tuple(method.train(data, task, seeds=seeds, progress=progress)), tuple(seeds), "oracle")


def train_members(
    objective: Objective,
    data: Dataset,
    recipe: Recipe,
    *,
    seeds: Sequence[int],
    subsets: torch.Tensor | None = None,
    initial: Sequence[Mapping[str, torch.Tensor]] | None = None,
    sequential: bool = False,
    chunk: int | None = None,
    progress: Progress | None = None,
) -> list[tuple[nn.Module, Any]]:
    """One (network, state) per seed; `chunk` members at a time, as many as fit into memory when None.

    initial     see `train.fit`
    sequential  one after another: slower, but right for networks that cannot be vectorised (batch normalisation)

    Raises SettingsError without seeds, and what `train.fit` raises.
    """
    if not seeds:
        raise SettingsError("no seeds came", expected="one per model", do="pass seeds=[0] for one model")
    alone = sequential or len(seeds) == 1
    chunks = math.ceil(len(seeds) / (1 if alone else chunk or members_that_fit(objective, data, recipe, seeds[0])))
    size = math.ceil(len(seeds) / chunks)  # chunks of equal size
    trained: list[tuple[nn.Module, Any]] = []
    for i in range(0, len(seeds), size):

        def chunk_progress(done: int, steps: int, first: int = i // size) -> None:
            if progress is not None:
                progress(first * steps + done, chunks * steps)

        networks, state = fit(objective, data, recipe, seeds=seeds[i : i + size], progress=chunk_progress,
                              subsets=None if subsets is None else subsets[i : i + size],
                              initial=None if initial is None else initial[i : i + size])  # fmt: skip
        trained += [(network, objective.member(state, j)) for j, network in enumerate(networks)]
    return trained


def members_that_fit(objective: Objective, data: Dataset, recipe: Recipe, seed: int) -> int:
    """How many members a chunk can hold: one member's weights, gradients, momenta, state and saved activations."""
    objective.task.check(data)
    network, saved = fresh(objective, data, seed), 0

    def count(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal saved
        saved += tensor.nbytes
        return tensor

    at = torch.arange(min(recipe.batch, len(data)))[None]
    uniform = torch.rand(1, at.shape[1], objective.draws, generator=generator(seed, "probe"))
    state = objective.start(data, [network], [seed])
    batch = {name: tensor[0] for name, tensor in objective.batch(data, at, uniform, state).items()}
    with seeded(seed, "probe"), torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        objective.loss(network, batch)
    weights = sum(each.nbytes for each in network.parameters())
    held = sum(each.nbytes for each in vars(state).values() if isinstance(each, torch.Tensor)) if state else 0
    return max(1, MEMORY_BUDGET // max(1, 5 * weights + 2 * saved + 2 * held))
