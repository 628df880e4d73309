"""The network that a stress works on: a copy that is open to training, and the features that its last layer reads."""

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from erasable._plumbing.batching import in_order
from erasable._plumbing.heads import inputs_of, placed
from erasable.dataset import Dataset
from erasable.errors import TaskMismatch
from erasable.receipt import Exposure
from erasable.task import LogitTask

ROWS = 1024  # samples per forward pass


def trainable(model: Any) -> nn.Module:
    """A copy of the model's network, in eval mode, with every floating-point weight open to training."""
    network: nn.Module = copy.deepcopy(model.as_network() if hasattr(model, "as_network") else model)
    network.eval()
    for parameter in network.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    return network


def on_record(network: nn.Module, part: str, data: Dataset) -> None:
    """Where the network knows what it was fitted on, add that `part` was fitted on `data`."""
    before = getattr(network, "exposure", None)
    if isinstance(before, Exposure):
        seen = before.parts.get(part, frozenset()) | frozenset(data.ids)
        after = replace(before, parts={**before.parts, part: seen})
        setattr(network, "exposure", after)  # noqa: B010 (a Module's type forbids it)


def refuse_constant(loss: Tensor, model: Any) -> None:
    """Raise TaskMismatch for a loss that no weight can change."""
    if not loss.requires_grad:
        raise TaskMismatch(f"the loss of a {type(model).__name__} depends on no weight",
                           expected="a differentiable network", do="give the model an as_network()")  # fmt: skip


class Headed(nn.Module):
    """A network with another head on the features that its last linear layer reads.

    What came after that layer, such as a mask over its outputs, is gone.
    """

    def __init__(self, network: nn.Module, layer: str, head: nn.Linear) -> None:
        super().__init__()
        self.network, self.layer, self.head = network, layer, head
        if (exposure := getattr(network, "exposure", None)) is not None:
            self.exposure = exposure

    def forward(self, *inputs: Tensor) -> Tensor:
        with inputs_of(self.network.get_submodule(self.layer)) as seen:
            self.network(*inputs)
        return self.head(seen[-1])  # type: ignore[no-any-return]


def features(network: nn.Module, layer: str, task: LogitTask, data: Dataset) -> tuple[Tensor, Tensor]:
    """What the layer called so reads for each sample, (samples, width), and the right answers (samples,).

    Raises TaskMismatch where it reads something else than one vector per sample.
    """
    read, answers = [], []
    with torch.no_grad(), inputs_of(network.get_submodule(layer)) as seen:
        for batch in in_order(task, data, ROWS):
            here = placed(batch, network)
            task.logits(network, here)
            read.append(seen.pop())
            answers.append(task.labels(here))
    if read[0].ndim != 2 or len(read[0]) != len(answers[0]):
        raise TaskMismatch(f"the last linear layer of a {type(network).__name__} reads {tuple(read[0].shape)}",
                           expected="one vector per sample", do="give the model an as_network()")  # fmt: skip
    return torch.cat(read), torch.cat(answers)


def common_scale(read: Tensor) -> tuple[Tensor, float]:
    """The mean of features, (width,), and their spread as one number, so that directions keep their proportions."""
    spread = float(read.double().var(dim=0, correction=0).mean().sqrt())
    return read.mean(dim=0), spread or 1.0


def unscaled(weight: Tensor, bias: Tensor, mean: Tensor, spread: float) -> nn.Linear:
    """The linear layer on features that says what `weight` and `bias` say on (features - mean) / spread."""
    classes, width = weight.shape
    head = nn.utils.skip_init(nn.Linear, width, classes, device=mean.device, dtype=mean.dtype)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        head.weight.copy_(weight / spread)
        head.bias.copy_(bias - (weight / spread) @ mean.to(weight))
    return head.requires_grad_(False)  # type: ignore[no-any-return]
