"""Keys: where a sample is found in a memory. They come from an encoder that is frozen before a memory is filled.

    "public"           features of a network that was trained as a classifier on the public part of the data
    "pixels"           the inputs themselves
    "pretrained:PATH"  a frozen encoder from a local folder, see models/pretrained.py

Nothing is fitted on a sample that somebody may ask to erase, so a key is a function of its own sample.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from erasable._plumbing.architecture import build_encoder
from erasable._plumbing.seeds import child
from erasable._plumbing.slots import by_slots
from erasable.dataset import Dataset
from erasable.errors import SettingsError
from erasable.memory import Memory
from erasable.network import Classifier
from erasable.population import train_members
from erasable.train import Recipe, Supervised

KINDS = "public|pixels|pretrained:[^ ,]+"  # a path with spaces or commas cannot be written as a setting


class Keys(nn.Module):
    """Inputs to keys of length one, (batch, key_width)."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.width = getattr(encoder, "width", 0)  # read only where a head is trained on it

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(self.encoder(x), dim=1)


def build_keys(kind: str, network: str, shape: Sequence[int]) -> Keys:
    """A key encoder of one of the KINDS; "public" is a fresh `network`, still to be trained."""
    if kind == "pixels":
        return Keys(nn.Flatten())
    spec = network if kind == "public" else kind.replace("pretrained:", "pretrained path=", 1)
    return Keys(build_encoder(spec, shape))


def train_keys(kind: str, network: str, recipe: Recipe, data: Dataset, task: Any, seeds: Sequence[int]) -> list[Keys]:
    """A frozen key encoder per seed, each trained alone: bit for bit the same, however many there are.

    Raises SettingsError for "public" without a public part.
    """
    if kind != "public":
        return [build_keys(kind, network, task.shape).eval().requires_grad_(False)] * len(seeds)
    if not len(data.public):
        raise SettingsError(f"keys='public' for '{data.name}', which has no public part",
                            expected="samples that nobody can ask to erase, to fit the key encoder on",
                            do="declare a public part, or choose keys='pixels'")  # fmt: skip
    supervised = Supervised(lambda: Classifier(build_keys(kind, network, task.shape), task.classes), task)
    own = [child(each, "keys") for each in seeds]
    trained = train_members(supervised, data.public, recipe, seeds=own, sequential=True)
    return [network.encoder for network, _ in trained]  # type: ignore[misc]


@torch.no_grad()
def encode(keys: Keys, task: Any, data: Dataset) -> Tensor:
    """The keys of samples as they are, without augmentation, (n, key_width); bit for bit whoever else is there."""
    return by_slots(task, data, lambda batch: keys(batch["inputs"]))


def neighbours(keys: Tensor, k: int) -> Tensor:
    """Positions (n, min(k, n - 1)) of each key's nearest others, nearest first."""
    memory = Memory(keys.shape[1], device=keys.device)
    memory.add(map(str, range(len(keys))), keys)
    return memory.nearest(keys, min(k, len(keys) - 1), exclude=torch.arange(len(keys)))[1]
