"""What a sample means, one modality per file."""

from erasable.tasks.classification import Classification
from erasable.tasks.language import NextToken
from erasable.tasks.regression import Regression

__all__ = ["Classification", "NextToken", "Regression"]
