"""Classification: pictures or rows of numbers with one label each."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from erasable.dataset import Dataset, Rows
from erasable.errors import InvalidData, TaskMismatch
from erasable.task import Batch, Forward


@dataclass(frozen=True, kw_only=True)
class Classification:
    """Predict `label` from `inputs`.

    shape      of one input, (channels, height, width) or (features,)
    classes    number of labels, 0 .. classes - 1
    low, high  the nominal range of the inputs, mapped to [-1, 1]: constants, so that scaling learns nothing of anyone.
               One value, or one per feature
    shift      random translation by up to this many pixels (0: none); flip: random mirror image
    fitted     low and high were taken from the data themselves, which is then an exposure of its own
    """

    shape: tuple[int, ...]
    classes: int
    low: tuple[float, ...] = (0.0,)
    high: tuple[float, ...] = (255.0,)
    inputs: str = "image"
    label: str = "label"
    shift: int = 0
    flip: bool = False
    fitted: bool = False

    @classmethod
    def of(cls, data: Dataset, *, shift: int = 0, flip: bool = False) -> "Classification":
        """The task that a data set's facts describe. Raises TaskMismatch where they do not."""
        facts = data.facts
        if "classes" not in facts or "inputs" not in facts:
            raise TaskMismatch(f"data set '{data.name}' tells no classes or inputs", expected="facts with both",
                               do="build the Classification by hand, or add the facts")  # fmt: skip
        inputs = str(facts["inputs"])
        low, high = (torch.as_tensor(facts[key], dtype=torch.float64).flatten().tolist() for key in ("low", "high"))
        return cls(shape=tuple(data.table.columns[inputs].shape[1:]), classes=len(facts["classes"]), low=tuple(low),
                   high=tuple(high), inputs=inputs, shift=shift, flip=flip,
                   fitted=facts.get("scaling") == "fitted")  # fmt: skip

    def check(self, data: Dataset) -> None:
        """Raises InvalidData: a missing column, another shape, a label out of range."""
        for column in (self.inputs, self.label):
            if column not in data.table.columns:
                raise InvalidData(f"'{data.name}' has no column '{column}'",
                                  expected=f"one of {sorted(data.table.columns)}", do="name the column")  # fmt: skip
        shape = tuple(data.table.columns[self.inputs].shape[1:])
        if shape != self.shape:
            raise InvalidData(f"inputs of '{data.name}' have the shape {shape}", expected=f"{self.shape}",
                              do="bring the data to the model's shape")  # fmt: skip
        labels = data.read(self.label)
        bad = torch.nonzero((labels < 0) | (labels >= self.classes)).flatten()
        if len(bad):
            raise InvalidData(f"label {int(labels[bad[0]])} of id '{data.ids[int(bad[0])]}' is out of range",
                              expected=f"0 to {self.classes - 1}", do="correct the label or the number of classes")  # fmt: skip

    def batch(self, data: Dataset, at: Tensor | Rows) -> Batch:
        x = data.read(self.inputs, at).float()
        low, high = x.new_tensor(self.low), x.new_tensor(self.high)
        return {"inputs": (x - (low + high) / 2) / ((high - low) / 2), "labels": data.read(self.label, at).long()}

    @property
    def draws(self) -> int:
        return (2 if self.shift else 0) + (1 if self.flip else 0)

    def augment(self, batch: Batch, uniform: Tensor) -> Batch:
        x = batch["inputs"]
        if self.flip:
            x = torch.where((uniform[:, -1] < 0.5).view(-1, 1, 1, 1), x.flip(-1), x)
        if self.shift:
            n, _, height, width = x.shape
            by = (uniform[:, :2] * (2 * self.shift + 1)).long()  # (batch, 2), 0 .. 2 * shift
            padded = F.pad(x, (self.shift,) * 4, value=-1.0)
            down = by[:, :1] + torch.arange(height)  # (batch, height)
            right = by[:, 1:] + torch.arange(width)
            x = padded[torch.arange(n)[:, None, None], :, down[:, :, None], right[:, None, :]].permute(0, 3, 1, 2)
        return {**batch, "inputs": x.contiguous()}

    def logits(self, model: Forward, batch: Batch) -> Tensor:
        return model(batch["inputs"])

    def labels(self, batch: Batch) -> Tensor:
        return batch["labels"]

    def losses(self, model: Forward, batch: Batch) -> Tensor:
        """Cross-entropy in nats."""
        return F.cross_entropy(self.logits(model, batch), batch["labels"], reduction="none")
