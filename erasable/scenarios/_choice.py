"""How many samples, and which: seeded choices among those that somebody may ask to erase."""

import math

import torch

from erasable.dataset import Dataset
from erasable.errors import SettingsError


def refuse_share(share: float, *, most: float = 1.0) -> None:
    """Raise SettingsError unless 0 < share <= most."""
    if not 0 < share <= most:
        raise SettingsError(f"share={share}", expected=f"more than 0, at most {most:g}", do="correct the share")


def portion(share: float, n: int) -> int:
    """`share` of n samples, rounded half up, at least one."""
    return max(1, math.floor(share * n + 0.5))


def drawn(data: Dataset, count: int, draws: torch.Generator) -> Dataset:
    """`count` samples at random, in the view's order. Raises SettingsError where there are fewer."""
    if count > len(data):
        raise SettingsError(f"{count} samples of the {len(data)} in '{data.name}' that may be chosen",
                            expected="no more than there are", do="choose a smaller share")  # fmt: skip
    return data.take(torch.randperm(len(data), generator=draws)[:count].sort().values)


def one_of(values: list[int], draws: torch.Generator) -> int:
    """One of some numbers, each as likely."""
    return values[int(torch.randint(len(values), (1,), generator=draws))]
