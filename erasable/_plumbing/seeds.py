"""Seeds by name, so that adding a random draw in one place moves no other."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def child(seed: int, *names: str | int) -> int:
    """A seed in [0, 2^63) that depends on `seed` and on what it is for."""
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: str | int) -> torch.Generator:
    """A fresh CPU generator. Draws are made on the CPU and moved, so that every device sees the same numbers."""
    return torch.Generator().manual_seed(child(seed, *names))


@contextmanager
def seeded(seed: int, *names: str | int) -> Iterator[None]:
    """Seed torch's global generator for code that offers no other way (weight initialisers), and put it back."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(child(seed, *names))
        yield
