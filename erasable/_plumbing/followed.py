"""Watching somebody else's optimiser: when it steps, in which metric, and what the retained loss is at that point."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from erasable._plumbing.gradients import Vector
from erasable.task import Batch, Task

Watcher = Callable[[Optimizer], None]


@contextmanager
def followed(parameters: Sequence[nn.Parameter], before: Watcher, after: Watcher) -> Iterator[None]:
    """Inside, `before` and `after` surround every step of an optimiser of torch that holds one of `parameters`."""
    ours = {id(p) for p in parameters}

    def told(watcher: Watcher) -> Callable[[Optimizer, Any, Any], None]:
        def hook(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
            if any(id(p) in ours for group in optimizer.param_groups for p in group["params"]):
                watcher(optimizer)

        return hook

    handles = [register_optimizer_step_pre_hook(told(before)), register_optimizer_step_post_hook(told(after))]
    try:
        yield
    finally:
        for each in handles:
            each.remove()


def inverse_metric(optimizer: Optimizer, parameters: Sequence[nn.Parameter]) -> Vector:
    """1 / (sqrt(v) + eps) where the optimiser keeps Adam's v, else 1; 0 for weights that it does not move."""
    found = {id(p): torch.zeros_like(p) for p in parameters}
    for group in optimizer.param_groups:
        for p in group["params"]:
            if id(p) not in found or p.grad is None:
                continue
            state = optimizer.state.get(p, {})
            if "exp_avg_sq" in state:
                unbiased = state["exp_avg_sq"] / (1 - group["betas"][1] ** float(state["step"]))
                found[id(p)] = 1 / (unbiased.sqrt() + group["eps"])
            else:
                found[id(p)] = torch.ones_like(p)
    return tuple(found[id(p)] for p in parameters)


def measured(model: nn.Module, task: Task, parameters: Sequence[nn.Parameter], batch: Batch) -> tuple[Vector, float]:
    """Gradient and mean loss of a batch in eval mode, zeros for frozen parameters; `.grad` and modes stay."""
    free = [p for p in parameters if p.requires_grad]
    with still(model), torch.enable_grad():
        loss = task.losses(model, batch).mean()
        found = dict(zip(map(id, free), torch.autograd.grad(loss, free, allow_unused=True), strict=True))
    gradients = [found.get(id(p)) for p in parameters]
    filled = tuple(torch.zeros_like(p) if g is None else g for p, g in zip(parameters, gradients, strict=True))
    return filled, float(loss.detach())


@contextmanager
def still(model: nn.Module) -> Iterator[None]:
    """The whole network in eval mode inside; every layer as it was outside."""
    modes = [(each, each.training) for each in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for each, mode in modes:
            each.training = mode
