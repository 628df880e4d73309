"""Samples in a seeded order in which the classes take turns, so that each beginning of it is a small balanced set."""

import torch
from torch import Tensor

from erasable._plumbing.seeds import generator


def in_turns(labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Positions (samples,) with the first of every class first, then the second, and each one's turn, from 0."""
    order = torch.randperm(len(labels), generator=generator(seed, "shots"))
    given = labels.cpu()[order]
    grouped, by = given.sort(stable=True)
    turn = torch.empty(len(labels), dtype=torch.int64)
    turn[by] = torch.arange(len(labels)) - torch.searchsorted(grouped, grouped)
    turns, at = turn.sort(stable=True)
    return order[at], turns
