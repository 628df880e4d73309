"""Evidence -> Finding: what an attacker can tell."""

from erasable.attacks.delta import delta, delta_fitted
from erasable.attacks.difficulty_calibration import difficulty_calibration
from erasable.attacks.lira import lira
from erasable.attacks.logistic import logistic
from erasable.attacks.nearest_neighbour import nearest_neighbour
from erasable.attacks.rmia import rmia
from erasable.attacks.svc_confidence import svc_confidence
from erasable.attacks.threshold import threshold
from erasable.attacks.ulira import ulira, ulira_retained

__all__ = [
    "delta", "delta_fitted", "difficulty_calibration", "lira", "logistic", "nearest_neighbour", "rmia",
    "svc_confidence", "threshold", "ulira", "ulira_retained",
]  # fmt: skip
