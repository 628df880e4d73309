"""Evidence -> Finding: how far a model is from the oracles."""

from erasable.metrics.accuracy import accuracy
from erasable.metrics.average_gap import average_gap
from erasable.metrics.cost import cost
from erasable.metrics.disagreement import disagreement
from erasable.metrics.kl import kl
from erasable.metrics.membership import membership
from erasable.metrics.relearning import relearning

__all__ = ["accuracy", "average_gap", "cost", "disagreement", "kl", "membership", "relearning"]
