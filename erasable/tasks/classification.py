"""Classification: pictures or rows of numbers with one label each."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from erasable.dataset import Dataset, Rows
from erasable.errors import InvalidData, SettingsError, TaskMismatch
from erasable.task import Batch, Forward


@dataclass(frozen=True, kw_only=True)
class Classification:
    """Predict `label` from `inputs`.

    shape      of one input, (channels, height, width) or (features,)
    classes    number of labels, 0 .. classes - 1
    low, high  the nominal range of the inputs, mapped to [-1, 1]: constants, so that scaling learns nothing of anyone.
               One value, or one per number of an input, flattened
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

    def __post_init__(self) -> None:
        if self.classes < 1 or not self.shape or min(self.shape) < 1:
            raise SettingsError(f"{self.classes} classes, inputs of the shape {self.shape}",
                                expected="positive numbers", do="correct them")  # fmt: skip
        lengths = {len(self.low), len(self.high)}
        if not lengths <= {1, math.prod(self.shape)} or not bool((self._bound("low") < self._bound("high")).all()):
            raise SettingsError(f"low {self.low} and high {self.high} for inputs of the shape {self.shape}",
                                expected="one number each, or one per feature, low below high",
                                do="correct the range")  # fmt: skip
        if self.shift < 0 or ((self.shift or self.flip) and len(self.shape) != 3):
            raise SettingsError(f"shift={self.shift}, flip={self.flip} for inputs of the shape {self.shape}",
                                expected="pictures, (channels, height, width)", do="leave them out")  # fmt: skip

    def _bound(self, name: str) -> Tensor:
        """`low` or `high` as one number, or as a tensor of `shape`."""
        values = torch.tensor(getattr(self, name))
        return values if len(values) == 1 else values.view(self.shape)

    @classmethod
    def of(cls, data: Dataset, *, shift: int = 0, flip: bool = False) -> "Classification":
        """The task that a data set's facts describe. Raises TaskMismatch where they do not."""
        facts = data.facts
        if missing := [each for each in ("classes", "inputs", "low", "high") if each not in facts]:
            raise TaskMismatch(f"data set '{data.name}' does not tell its {' and '.join(missing)}",
                               expected="facts with classes, inputs, low and high",
                               do="build the Classification by hand, or add the facts")  # fmt: skip
        if (inputs := str(facts["inputs"])) not in data.table.columns:
            raise TaskMismatch(f"data set '{data.name}' has no column '{inputs}', which its facts call the inputs",
                               expected=f"one of {sorted(data.table.columns)}", do="correct the facts")  # fmt: skip
        low, high = (torch.as_tensor(facts[key], dtype=torch.float64).flatten().tolist() for key in ("low", "high"))
        return cls(shape=tuple(data.table.columns[inputs].shape[1:]), classes=len(facts["classes"]), low=tuple(low),
                   high=tuple(high), inputs=inputs, shift=shift, flip=flip,
                   fitted=facts.get("scaling") == "fitted")  # fmt: skip

    def check(self, data: Dataset) -> None:
        """Raises InvalidData: a missing column, another shape, a label that is no class."""
        for column in (self.inputs, self.label):
            if column not in data.table.columns:
                raise InvalidData(f"'{data.name}' has no column '{column}'",
                                  expected=f"one of {sorted(data.table.columns)}", do="name the column")  # fmt: skip
        shape = tuple(data.table.columns[self.inputs].shape[1:])
        if shape != self.shape:
            raise InvalidData(f"inputs of '{data.name}' have the shape {shape}", expected=f"{self.shape}",
                              do="bring the data to the model's shape")  # fmt: skip
        labels = data.read(self.label)
        if labels.ndim != 1:
            raise InvalidData(f"'{self.label}' of '{data.name}' has {list(labels.shape[1:])} numbers per sample",
                              expected="one", do="name the column of the labels")  # fmt: skip
        bad = torch.nonzero((labels < 0) | (labels >= self.classes) | (labels != labels.long())).flatten()
        if len(bad):
            raise InvalidData(f"label {labels[bad[0]].item()} of id '{data.ids[int(bad[0])]}' is out of range",
                              expected=f"a whole number from 0 to {self.classes - 1}",
                              do="correct the label or the number of classes")  # fmt: skip

    def batch(self, data: Dataset, at: Tensor | Rows) -> Batch:
        x = data.read(self.inputs, at).float()
        low, high = self._bound("low").to(x), self._bound("high").to(x)
        return {"inputs": (x - (low + high) / 2) / ((high - low) / 2), "labels": data.read(self.label, at).long()}

    @property
    def draws(self) -> int:
        return (2 if self.shift else 0) + (1 if self.flip else 0)

    def augment(self, batch: Batch, uniform: Tensor) -> Batch:
        x = batch["inputs"]
        uniform = uniform.to(x.device)
        if self.flip:
            x = torch.where((uniform[:, -1] < 0.5).view(-1, 1, 1, 1), x.flip(-1), x)
        if self.shift:
            n, _, height, width = x.shape
            by = (uniform[:, :2] * (2 * self.shift + 1)).long()  # (batch, 2), 0 .. 2 * shift
            padded = F.pad(x, (self.shift,) * 4, value=-1.0)
            down = by[:, :1] + torch.arange(height, device=x.device)  # (batch, height)
            right = by[:, 1:] + torch.arange(width, device=x.device)
            at = torch.arange(n, device=x.device)[:, None, None]
            x = padded[at, :, down[:, :, None], right[:, None, :]].permute(0, 3, 1, 2)
        return {**batch, "inputs": x.contiguous()}

    def logits(self, model: Forward, batch: Batch) -> Tensor:
        return model(batch["inputs"])

    def labels(self, batch: Batch) -> Tensor:
        return batch["labels"]

    def losses(self, model: Forward, batch: Batch) -> Tensor:
        """Cross-entropy in nats."""
        return F.cross_entropy(self.logits(model, batch), batch["labels"], reduction="none")
