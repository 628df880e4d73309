"""Per-sample results that are bit for bit the same, whoever else is computed beside a sample."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from erasable._plumbing.seeds import child
from erasable.dataset import Dataset
from erasable.errors import InvalidData
from erasable.task import Batch

SLOTS = 64  # samples in a block


def slots(ids: Sequence[str]) -> Tensor:
    """Positions (blocks, SLOTS) of samples, -1 where a slot stays empty. A sample's slot depends on its id alone.

    A matrix product may round a row differently in another place of the block, or for another number of rows, but not
    for other contents of the other rows. Always in the same slot of a block of the same size, a sample gets the same
    bits whoever else is there and in whatever order (on one machine, with one number of threads). That costs the empty
    slots: a few for sets of thousands, every other one for sets of hundreds.
    """
    queues: list[list[int]] = [[] for _ in range(SLOTS)]
    for at, each in enumerate(ids):
        queues[child(0, "slot", each) % SLOTS].append(at)
    height = max(map(len, queues))
    return torch.tensor([queue + [-1] * (height - len(queue)) for queue in queues], dtype=torch.long).T.contiguous()


def by_slots(task: Any, data: Dataset, compute: Callable[[Batch], Tensor]) -> Tensor:
    """One row per sample (samples, ...) from `compute`, which maps a batch of SLOTS samples to as many rows.

    An empty slot holds some sample whose row is thrown away. Raises InvalidData for no samples.
    """
    if not len(data):
        raise InvalidData(f"no samples came from '{data.name}'", expected="at least one", do="check the selection")
    found: list[Tensor] = []
    layout = slots(data.ids)
    for block in layout:
        found.append(compute(task.batch(data, block.clamp_min(0)))[block >= 0])
    rows = torch.cat(found)
    return torch.empty_like(rows).index_copy_(0, layout[layout >= 0].to(rows.device), rows)
