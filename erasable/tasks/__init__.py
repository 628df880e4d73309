"""What a sample means, one modality per file."""

from erasable.tasks.classification import Classification

__all__ = ["Classification"]
