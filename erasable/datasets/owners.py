"""Whose samples they are, for public sets that do not tell: made-up owners with skewed sizes.

Most people leave little behind and a few leave much, so the sizes follow Pareto's law with exponent 1.5: about two in
three owners have a single sample, the largest has a few per cent of a set of ten thousand. The law is V. Pareto, *Cours
d'economie politique* (1896); the exponent is ours, in the range that is common for activity per person.
"""

import numpy as np
from numpy.typing import NDArray

from erasable.datasets._order import shuffled
from erasable.errors import InvalidData

EXPONENT = 1.5


def synthetic_owners(n: int, *, name: str, consecutive: bool = False) -> NDArray[np.str_]:
    """One owner per sample, (n,), such as "owner-0007": at random, or as `consecutive` blocks; decided by `name` alone.

    owner-0000 has the most samples, the last owner one. Raises InvalidData for no samples.
    """
    if n < 1:
        raise InvalidData(f"'{name}' has {n} samples to share out", expected="at least one", do="check the source")
    sizes = _sizes(n)
    digits = max(4, len(str(len(sizes) - 1)))
    names = np.array([f"owner-{each:0{digits}d}" for each in range(len(sizes))])
    if consecutive:
        order = shuffled(len(sizes), name, "owners")
        return np.repeat(names[order], sizes[order])
    owners = np.empty(n, names.dtype)
    owners[shuffled(n, name, "owners")] = np.repeat(names, sizes)
    return owners


def _sizes(n: int) -> NDArray[np.int64]:
    """Sizes that sum to n, largest first: the quantiles of a Pareto law for as many owners as fit, then single ones."""

    def quantiles(owners: int) -> NDArray[np.int64]:
        return np.floor((owners / (np.arange(owners) + 0.5)) ** (1 / EXPONENT)).astype(np.int64)

    fits, too_many = 0, n + 1  # an owner has at least one sample
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        if quantiles(middle).sum() <= n:
            fits = middle
        else:
            too_many = middle
    sizes = quantiles(fits)
    return np.concatenate([sizes, np.ones(n - sizes.sum(), np.int64)])
