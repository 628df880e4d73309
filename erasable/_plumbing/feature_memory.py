"""An ordinary network's features in a memory: what the controls that read nothing else train and restore."""

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from erasable._plumbing.architecture import build_encoder
from erasable._plumbing.batching import features, labels_of
from erasable._plumbing.seeds import seeded
from erasable.dataset import Dataset
from erasable.errors import CorruptRun
from erasable.memory import Memory
from erasable.network import Network
from erasable.receipt import Exposure
from erasable.task import LogitTask
from erasable.train import Progress


def train_features(
    plain: Network, data: Dataset, task: LogitTask, *, seeds: Sequence[int], progress: Progress | None = None
) -> Iterator[tuple[Exposure, nn.Module, Memory]]:
    """Per seed an encoder, trained with a head that is then thrown away, and a memory of everybody's features."""
    exposure = Exposure.trained({"encoder": data.ids}, data.ids, task)
    for model in plain.train(data, task, seeds=seeds, progress=progress):
        encoder = model.network.get_submodule("encoder")
        keys = features(encoder, task, data)
        memory = Memory(keys.shape[1])
        memory.add(data.ids, keys, labels=labels_of(task, data))
        yield exposure, encoder, memory


def restore_features(
    plain: Network, task: LogitTask, weights: dict[str, Tensor], memory: Memory | None
) -> tuple[nn.Module, Memory]:
    """The encoder whose weights are stored as "encoder.*", frozen, and its memory. Raises CorruptRun without one."""
    if memory is None:
        raise CorruptRun("a model of stored features came without its memory", expected="the rows that it answers from",
                         do="restore the run folder from a backup")  # fmt: skip
    with seeded(0, "restore"):  # initial weights, which are replaced: not from anyone else's random numbers
        encoder = build_encoder(plain.network, task.shape)  # type: ignore[attr-defined]
    nn.ModuleDict({"encoder": encoder}).load_state_dict(weights)
    return encoder.eval().requires_grad_(False), memory
