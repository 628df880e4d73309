"""(data, task, seed) -> Scenario: requests to test with, each with its known truth."""

from erasable.scenarios.adaptive import Adaptive
from erasable.scenarios.bias_conflicting import BiasConflicting
from erasable.scenarios.duplicates import Duplicates
from erasable.scenarios.interclass_confusion import InterclassConfusion
from erasable.scenarios.memorisation import Memorisation
from erasable.scenarios.mislabelled import Mislabelled
from erasable.scenarios.one_class import OneClass
from erasable.scenarios.one_owner import OneOwner
from erasable.scenarios.random_share import RandomShare
from erasable.scenarios.sequential import Sequential
from erasable.scenarios.subclass import Subclass

__all__ = [
    "Adaptive", "BiasConflicting", "Duplicates", "InterclassConfusion", "Memorisation", "Mislabelled", "OneClass",
    "OneOwner", "RandomShare", "Sequential", "Subclass",
]  # fmt: skip
