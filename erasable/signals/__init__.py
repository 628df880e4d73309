"""(model, task, data) -> Evidence: one number per sample."""

from erasable.signals.confidence import confidence, confidence_of
from erasable.signals.correct import correct, correct_of
from erasable.signals.entropy import entropy, entropy_of
from erasable.signals.log_probabilities import log_probabilities
from erasable.signals.loss import loss
from erasable.signals.margin import margin, margin_of
from erasable.signals.modified_entropy import modified_entropy, modified_entropy_of
from erasable.signals.neighbour_margin import neighbour_margin, neighbour_margin_of, toward
from erasable.signals.prediction import prediction, prediction_of

__all__ = [
    "confidence", "confidence_of", "correct", "correct_of", "entropy", "entropy_of", "log_probabilities", "loss",
    "margin", "margin_of", "modified_entropy", "modified_entropy_of", "neighbour_margin", "neighbour_margin_of",
    "prediction", "prediction_of", "toward",
]  # fmt: skip
