"""What a sample means, one modality per file."""

from erasable.tasks.classification import Classification
from erasable.tasks.language import NextToken

__all__ = ["Classification", "NextToken"]
