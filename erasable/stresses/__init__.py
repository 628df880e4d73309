"""Model -> model: what an adversary or an operator does next."""

from erasable.stresses.relearn import Relearn, Relearned

__all__ = ["Relearn", "Relearned"]
