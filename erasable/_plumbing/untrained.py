"""A network as it was before it saw anything: same architecture, fresh weights."""

import copy

from torch import nn

from erasable._plumbing.seeds import seeded
from erasable.errors import TaskMismatch
from erasable.network import Network
from erasable.task import Task


def untrained(model: nn.Module, task: Task, seed: int) -> nn.Module:
    """A copy of the model with the initial weights of `seed`, frozen and in eval mode.

    A model of the method `Network` gets the weights that training with `seed` would start from. In any other, each
    layer draws anew by its own `reset_parameters`. Raises TaskMismatch where a layer with weights has none.
    """
    twin = copy.deepcopy(model).requires_grad_(False).eval()
    method, inner = getattr(model, "method", None), getattr(twin, "network", None)
    with seeded(seed, "init"):
        if isinstance(method, Network) and isinstance(inner, nn.Module):
            inner.load_state_dict(method.build(task).state_dict())
            return twin
        device = next((p.device for p in twin.parameters()), None)
        twin.cpu()  # every device draws the same numbers
        for name, layer in twin.named_modules():
            if not any(True for _ in layer.parameters(recurse=False)):
                continue
            reset = getattr(layer, "reset_parameters", None)
            if not callable(reset):
                raise TaskMismatch(f"layer '{name}' ({type(layer).__name__}) does not tell how its weights are drawn",
                                   expected="a model of Network, or layers with reset_parameters()",
                                   do="give the layer one")  # fmt: skip
            reset()
    return twin if device is None else twin.to(device)
