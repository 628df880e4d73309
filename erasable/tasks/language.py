"""Next-token prediction: text as rows of token numbers."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from erasable.dataset import Dataset, Rows
from erasable.errors import InvalidData, TaskMismatch
from erasable.task import Batch, Forward


@dataclass(frozen=True, kw_only=True)
class NextToken:
    """Predict each token of a row from those before it.

    The column `tokens` (samples, length + 1) holds integers 0 .. vocabulary - 1; a model maps (batch, length) tokens to
    (batch, length, vocabulary) logits, position t from tokens 0 .. t. A sample's loss is the mean over its positions.
    There are no classes: a method that needs a finite set of answers refuses this task.

    fitted   the vocabulary was taken from the data themselves, which is then an exposure of its own
    """

    vocabulary: int
    length: int
    tokens: str = "tokens"
    fitted: bool = False

    @classmethod
    def of(cls, data: Dataset, *, tokens: str = "tokens") -> "NextToken":
        """The task that a data set's facts describe. Raises TaskMismatch where they do not."""
        if "vocabulary" not in data.facts or tokens not in data.table.columns:
            raise TaskMismatch(f"data set '{data.name}' tells no vocabulary, or has no column '{tokens}'",
                               expected="both", do="build the NextToken by hand, or add them")  # fmt: skip
        return cls(vocabulary=len(data.facts["vocabulary"]), length=data.table.columns[tokens].shape[1] - 1,
                   tokens=tokens, fitted=data.facts.get("scaling") == "fitted")  # fmt: skip

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one input."""
        return (self.length,)

    @property
    def draws(self) -> int:
        return 0

    def check(self, data: Dataset) -> None:
        """Raises InvalidData: no such column, another length, a token out of range."""
        if self.tokens not in data.table.columns:
            raise InvalidData(f"'{data.name}' has no column '{self.tokens}'",
                              expected=f"one of {sorted(data.table.columns)}", do="name the column")  # fmt: skip
        column = data.read(self.tokens)
        if column.shape[1:] != (self.length + 1,) or column.is_floating_point():
            raise InvalidData(f"column '{self.tokens}' of '{data.name}' holds {column.dtype} of the shape "
                              f"{tuple(column.shape[1:])}", expected=f"integers of the shape ({self.length + 1},)",
                              do="cut the text into rows of length + 1 tokens")  # fmt: skip
        bad = ((column < 0) | (column >= self.vocabulary)).any(1).nonzero().flatten()
        if len(bad):
            row = int(bad[0])
            raise InvalidData(f"id '{data.ids[row]}' has tokens from {int(column[row].min())} to "
                              f"{int(column[row].max())}", expected=f"0 to {self.vocabulary - 1}",
                              do="correct the tokens or the vocabulary")  # fmt: skip

    def batch(self, data: Dataset, at: Tensor | Rows) -> Batch:
        tokens = data.read(self.tokens, at).long()
        return {"inputs": tokens[:, :-1], "targets": tokens[:, 1:]}

    def augment(self, batch: Batch, uniform: Tensor) -> Batch:
        return batch

    def losses(self, model: Forward, batch: Batch) -> Tensor:
        """Cross-entropy in nats per token."""
        logits = model(batch["inputs"])  # (batch, length, vocabulary)
        return F.cross_entropy(logits.transpose(1, 2), batch["targets"], reduction="none").mean(1)
