"""Opening a trained network for changes."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def unfrozen(model: nn.Module, *, train: bool) -> Iterator[nn.Module]:
    """Every parameter takes gradients inside, in train mode or not; outside the model is frozen and in eval mode.

    Train mode matters for batch normalisation alone: there, running statistics absorb what is seen.
    """
    model.requires_grad_(True).train(train)
    try:
        yield model
    finally:
        model.requires_grad_(False).eval()
        for parameter in model.parameters():
            parameter.grad = None
