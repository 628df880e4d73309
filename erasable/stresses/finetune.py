"""Train on retained data for a while, as an operator does: does erased knowledge come back without any erased sample?

Plain training from the weights as they are, with Adam and the augmentation of the task, on data that hold none of the
erased samples. A method that only pushed knowledge aside loses its hold once the weights move on. It is the stress, not
the unlearner of the same name: that one hopes that knowledge fades, this one that it returns.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from erasable._plumbing.batching import shuffled
from erasable._plumbing.heads import placed
from erasable.dataset import Dataset
from erasable.errors import SettingsError
from erasable.stresses._network import on_record, refuse_constant, trainable
from erasable.task import Task


@dataclass(frozen=True, kw_only=True)
class FineTune:
    """(model, task, retained data) -> a copy of its network, trained on. The model is never changed."""

    epochs: int = 1
    lr: float = 1e-3
    batch: int = 64

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 1 or self.lr <= 0:
            raise SettingsError(f"epochs={self.epochs}, batch={self.batch}, lr={self.lr}", expected="positive values",
                                do="correct them")  # fmt: skip

    def __call__(self, model: Any, task: Task, retain: Dataset, *, seed: int) -> nn.Module:
        """Raises TaskMismatch for a model whose loss no weight can change."""
        network = trainable(model)
        optimizer = torch.optim.Adam([each for each in network.parameters() if each.requires_grad], lr=self.lr)
        for batch in shuffled(task, retain, self.batch, epochs=self.epochs, seed=seed):
            loss = task.losses(network, placed(batch, network)).mean()
            refuse_constant(loss, model)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        optimizer.zero_grad()  # gradients speak of samples
        on_record(network, "fine-tuning", retain)
        return network.requires_grad_(False)
