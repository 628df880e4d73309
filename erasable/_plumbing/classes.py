"""Which classes a request is about."""

import torch
from torch import Tensor

from erasable._plumbing.batching import labels_of
from erasable.errors import RequestError
from erasable.request import Split
from erasable.task import LogitTask


def whole_classes(task: LogitTask, split: Split, method: object) -> Tensor:
    """The classes that are erased, (erased,) ascending. Raises RequestError where a sample of one of them stays."""
    kept = labels_of(task, split.retain)
    erased: Tensor = torch.unique(labels_of(task, split.forget))  # type: ignore[no-untyped-call]
    if bool((stays := torch.isin(kept, erased)).any()):
        raise RequestError(f"{type(method).__name__} erases whole classes, and {int(stays.sum())} samples of class "
                           f"{int(kept[stays][0])} would stay", expected="a request for every sample of its classes",
                           do="ask for whole classes, or choose a method for single samples")  # fmt: skip
    return erased
