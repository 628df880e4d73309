"""The last layer of a classifier, and the features that it reads."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from erasable.dataset import Dataset
from erasable.errors import TaskMismatch
from erasable.task import Batch, LogitTask


def placed(batch: Batch, network: nn.Module) -> Batch:
    """The batch on the device that the network lives on."""
    device = next((each.device for each in network.parameters()), None)
    return batch if device is None else {name: each.to(device) for name, each in batch.items()}


def last_linear(network: nn.Module, task: LogitTask, data: Dataset) -> str:
    """The name of the linear layer that is used last, and gives one number per class.

    Raises TaskMismatch for a network without one, and for one that does not answer through that layer alone, such as an
    ensemble: nobody can say what the features of such a network are.
    """
    order: list[str] = []
    layers = {name: each for name, each in network.named_modules() if isinstance(each, nn.Linear)}
    hooks = [each.register_forward_pre_hook(lambda _, __, name=name: order.append(name))  # type: ignore[misc]
             for name, each in layers.items()]  # fmt: skip
    batch = placed(task.batch(data, torch.arange(min(len(data), 16))), network)
    try:
        with torch.no_grad():
            task.logits(network, batch)
    finally:
        for hook in hooks:
            hook.remove()
    if not order or layers[order[-1]].out_features != task.classes:
        raise TaskMismatch(f"a {type(network).__name__} does not end in a linear layer with {task.classes} outputs",
                           expected="features and a linear head", do="give the model an as_network()")  # fmt: skip
    cut = layers[order[-1]].register_forward_hook(lambda _, __, given: torch.zeros_like(given))
    try:
        with torch.no_grad():
            blind = task.logits(network, batch)
    finally:
        cut.remove()
    if not torch.equal(blind, blind[:1].expand_as(blind)):
        raise TaskMismatch(f"a {type(network).__name__} tells samples apart without its last linear layer",
                           expected="one head that all answers come out of",
                           do="take the networks of an ensemble one by one")  # fmt: skip
    return order[-1]


@contextmanager
def inputs_of(layer: nn.Module) -> Iterator[list[Tensor]]:
    """Inside, what the layer reads at each use, last use last."""
    seen: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    try:
        yield seen
    finally:
        hook.remove()
