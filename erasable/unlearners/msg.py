"""MSG: draw anew those weights that retaining and forgetting together ask least to move, then repair on what stays.

    g = sum over retained samples of the gradient of l  -  sum over forgotten samples of the gradient of l
    in each layer: the `share` of the weights with the smallest |g| is drawn anew, N(0, 2 / fan out)
    minimise over w:  mean_retain l(w), where the gradient of the other weights of these layers is scaled by `damping`

As many retained samples, drawn at random, as there are forgotten ones. Layers are all convolutions and linear layers
but the last linear one, the head: for a convolutional network with one linear layer these are its convolutions, as in
the original, and networks without convolutions have some as well. Only their matrices and kernels are touched, not
biases.
Cost: `epochs` passes over the retained data and two over the forgotten. Fails when: the repair is too short for what
was destroyed, or the network too small to spare the weights; what forgets is the damage and not the request.
Reference: Masked Small Gradients, a leading entry of the NeurIPS 2023 machine unlearning challenge, described and
ported by Cadet, Borovykh, Malekzadeh, Ahmadi-Abhari, Haddadi (2024), "Deep Unlearn: Benchmarking Machine Unlearning for
Image Classification", arXiv:2410.01276, which ranks it among the most reliable.
Differs: layers of networks that are not convolutional, see above; biases stay (the port replaces them by accident);
after the warm-up the learning rate follows a cosine. Weight decay is not damped, as in the port.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from erasable._plumbing.batching import shuffled
from erasable._plumbing.gradients import mean_gradient
from erasable._plumbing.seeds import generator, seeded
from erasable._plumbing.steps import batches_in, descend
from erasable._plumbing.weights import unfrozen
from erasable.errors import SettingsError, TaskMismatch
from erasable.receipt import Level
from erasable.request import Split
from erasable.task import Task
from erasable.train import Recipe
from erasable.unlearner import Needs

LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


@dataclass(frozen=True, kw_only=True)
class MSG:
    """`warmup` is a share of all steps. Raises TaskMismatch for a network with no such layer but its head."""

    share: float = 0.3
    damping: float = 0.1
    epochs: int = 5
    lr: float = 1e-3
    batch: int = 64
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup: float = 0.2
    guarantee: ClassVar[Level] = "empirical"
    needs: ClassVar[Needs] = frozenset({"forget", "retain"})

    def __post_init__(self) -> None:
        if not (0 < self.share <= 1 and 0 <= self.damping <= 1):
            raise SettingsError(f"share={self.share}, damping={self.damping}", expected="shares between 0 and 1, the "
                                "first above 0", do="correct them")  # fmt: skip
        self.recipe()

    def recipe(self) -> Recipe:
        return Recipe(epochs=self.epochs, lr=self.lr, batch=self.batch, momentum=self.momentum,
                      weight_decay=self.weight_decay, warmup=self.warmup, optimizer="sgd")  # fmt: skip

    def __call__(self, model: nn.Module, split: Split, task: Task, *, seed: int) -> nn.Module:
        layers = inner_weights(model)
        drawn = self.redraw(model, layers, split, task, seed)
        batches = shuffled(task, split.retain, self.batch, epochs=self.epochs, seed=seed)
        with unfrozen(model, train=True), seeded(seed, "layers"), damped(layers, drawn, self.damping):
            descend(model, batches, lambda each: task.losses(model, each).mean(), self.recipe(),
                    steps=batches_in(split.retain, self.batch, epochs=self.epochs))  # fmt: skip
        return model

    @torch.no_grad()
    def redraw(self, model: nn.Module, layers: list[nn.Parameter], split: Split, task: Task, seed: int) -> list[Tensor]:
        """Draw the chosen weights anew; returns which these are, one bool tensor per layer."""
        order = torch.randperm(len(split.retain), generator=generator(seed, "retain"))
        sample = split.retain.take(order[: len(split.forget)])
        with torch.enable_grad():
            kept, erased = (mean_gradient(model, task, each, batch=self.batch) for each in (sample, split.forget))
        chosen, draws = [], generator(seed, "weights")
        at = {id(each): i for i, each in enumerate(model.parameters())}
        for weight in layers:
            g = kept[at[id(weight)]] * len(sample) - erased[at[id(weight)]] * len(split.forget)
            redrawn = torch.zeros(weight.numel(), dtype=torch.bool, device=weight.device)
            redrawn[g.abs().flatten().topk(max(1, round(self.share * weight.numel())), largest=False).indices] = True
            fresh = torch.empty(weight.shape, dtype=weight.dtype)
            nn.init.kaiming_normal_(fresh, mode="fan_out", nonlinearity="relu", generator=draws)
            weight.copy_(torch.where(redrawn.view_as(weight), fresh.to(weight.device), weight))
            chosen.append(redrawn.view_as(weight))
        return chosen


def inner_weights(model: nn.Module) -> list[nn.Parameter]:
    """The matrices and kernels of all convolutions and linear layers but the last linear one. Raises TaskMismatch."""
    found = [each for each in model.modules() if isinstance(each, LAYERS)]
    head = next((each for each in reversed(found) if isinstance(each, nn.Linear)), None)
    weights = [each.weight for each in found if each is not head and isinstance(each.weight, nn.Parameter)]
    if not weights:
        raise TaskMismatch(f"a {type(model).__name__} without a convolution or linear layer before its head",
                           expected="one at least", do="choose another method for this network")  # fmt: skip
    return weights


@contextmanager
def damped(weights: list[nn.Parameter], free: list[Tensor], damping: float) -> Iterator[None]:
    """Inside, gradients of weights that are not `free` are scaled by `damping`."""
    hooks = [weight.register_hook(lambda g, at=at: torch.where(at, g, damping * g))  # type: ignore[misc, no-untyped-call]
             for weight, at in zip(weights, free, strict=True)]  # fmt: skip
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
