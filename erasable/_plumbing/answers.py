"""What a network answers, as probabilities: what distillation compares.

The last axis of a classifier's output runs over classes, that of a language model's over tokens, one answer per
position. A sample's divergence is the mean over its positions, as its loss is.
"""

from typing import Any

import torch
from torch import Tensor

from erasable.errors import TaskMismatch
from erasable.task import Batch, Forward, LogitTask, Task


def refuse_unanswered(task: Task, method: object) -> None:
    """Raise TaskMismatch for a task whose networks do not answer with probabilities."""
    if not (isinstance(task, LogitTask) or hasattr(task, "vocabulary")):
        raise TaskMismatch(f"{type(method).__name__} compares answers, a {type(task).__name__} has none to choose from",
                           expected="classes or tokens", do="choose a method for this task")  # fmt: skip


def answers(model: Forward, task: Task, batch: Batch) -> tuple[Tensor, Tensor]:
    """Unnormalised log-probabilities (batch, ..., answers), and the losses (batch,), from one forward pass."""
    seen: list[Tensor] = []

    def once(*inputs: Any, **named: Any) -> Tensor:
        if not seen:
            seen.append(model(*inputs, **named))
        return seen[0]

    losses = task.losses(once, batch)
    return (task.logits(once, batch) if isinstance(task, LogitTask) else seen[0]), losses


def divergence(teacher: Tensor, student: Tensor, temperature: float = 1.0) -> Tensor:
    """KL(teacher || student) of the softmaxes of both at a temperature, (batch,) nats; gradients reach the student."""
    p, q = (torch.log_softmax(each / temperature, -1) for each in (teacher.detach(), student))
    return (p.exp() * (p - q)).sum(-1).flatten(1).mean(1) if p.ndim > 2 else (p.exp() * (p - q)).sum(-1)
