"""Evidence -> Finding: how far a model is from the oracles."""

from erasable.metrics.accuracy import accuracy
from erasable.metrics.activation_distance import activation_distance
from erasable.metrics.anamnesis import anamnesis
from erasable.metrics.average_gap import average_gap
from erasable.metrics.canaries import canaries
from erasable.metrics.challenge_score import challenge_score
from erasable.metrics.cost import cost, costs
from erasable.metrics.disagreement import disagreement
from erasable.metrics.energy_distance import energy_distance
from erasable.metrics.interclass_confusion import interclass_confusion
from erasable.metrics.js import js
from erasable.metrics.kl import kl
from erasable.metrics.klom import klom
from erasable.metrics.membership import membership
from erasable.metrics.per_class import per_class, worst_class
from erasable.metrics.recovery import recovery
from erasable.metrics.relearning import relearning
from erasable.metrics.tug_of_war import tug_of_war, tug_of_war_mia
from erasable.metrics.zrf import zrf

__all__ = [
    "accuracy", "activation_distance", "anamnesis", "average_gap", "canaries", "challenge_score", "cost", "costs",
    "disagreement", "energy_distance", "interclass_confusion", "js", "kl", "klom", "membership", "per_class",
    "recovery", "relearning", "tug_of_war", "tug_of_war_mia", "worst_class", "zrf",
]  # fmt: skip
