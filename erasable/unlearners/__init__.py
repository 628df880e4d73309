"""Post-hoc unlearning, one method per file."""

from erasable.unlearners.finetune import FineTune
from erasable.unlearners.gradient_ascent import GradientAscent
from erasable.unlearners.nothing import Nothing
from erasable.unlearners.retrain import Retrain

__all__ = ["FineTune", "GradientAscent", "Nothing", "Retrain"]
