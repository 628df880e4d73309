"""A fixed shuffle and a fixed split, the same under every library version.

Only the raw stream of a bit generator is used: its values are guaranteed, those of `permutation` and `randperm` not.
"""

import numpy as np
from numpy.typing import NDArray

from erasable._plumbing.seeds import child
from erasable.dataset import Rows

TEST_SHARE = 5  # one in five samples of a set without an official split is a test sample


def shuffled(n: int, *names: str | int) -> Rows:
    """The numbers 0 to n - 1, (n,), in an order that depends on `names` alone."""
    return np.argsort(np.random.PCG64(child(0, *names)).random_raw(n), kind="stable")


def held_out(labels: NDArray[np.int64], name: str) -> NDArray[np.bool_]:
    """Which samples, (n,), form the test part: one in five of each class."""
    test = np.zeros(len(labels), np.bool_)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        test[members[shuffled(len(members), name, "split", int(label))[: round(len(members) / TEST_SHARE)]]] = True
    return test
