"""The parts of a set with a test part, and the samples that are declared public."""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from erasable.datasets._order import shuffled
from erasable.errors import SettingsError, UnknownName

Part = Literal["train", "test", "all"]


def checked(part: str, of: str) -> None:
    """Raises UnknownName for anything but train, test and all."""
    if part not in get_args(Part):
        raise UnknownName(f"'{of}' has no part '{part}'", expected="train, test or all", do="choose one of them")


def part_name(of: str, part: str) -> str:
    return of if part == "all" else f"{of}/{part}"


def public_mask(n: int, public: int, name: str) -> NDArray[np.bool_]:
    """Which samples, (n,), nobody can ask to erase: the first `public` of a fixed shuffle, so that less is a subset of
    more. Raises SettingsError for a number outside 0 to n."""
    if not 0 <= public <= n:
        raise SettingsError(f"{public} samples of '{name}' were declared public", expected=f"0 to {n}",
                            do="choose a smaller share")  # fmt: skip
    mask = np.zeros(n, np.bool_)
    mask[shuffled(n, name, "public")[:public]] = True
    return mask
