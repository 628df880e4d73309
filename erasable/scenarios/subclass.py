"""One kind within a class: a finer label, in another column, under the label that the model is trained on.

The class stays, with its other kinds. So a retrained model still answers with the class, less often right on the erased
kind than before, and how much less only retraining can tell.
"""

from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from erasable._plumbing.seeds import generator
from erasable.dataset import Dataset
from erasable.errors import EmptyRequest, InvalidData
from erasable.request import Request
from erasable.scenario import Scenario
from erasable.scenarios._choice import one_of
from erasable.scenarios._labels import Labelled, labelled, whole_numbers

TRUTH = (
    "Tests one kind within a class: a retrained model still knows the class from its other kinds, "
    "so the right accuracy on the erased kind is the oracles', neither zero nor what it was."
)


@dataclass(frozen=True, kw_only=True)
class Subclass:
    """All samples whose `column` is `value`; without one, the seed chooses among the kinds that can be erased.

    Such a kind lies in one class, is not all of that class and has no public sample.
    """

    column: str
    value: int | None = None

    def __call__(self, data: Dataset, task: Labelled, *, seed: int, test: Dataset | None = None) -> Scenario:
        """Groups: "siblings", the other kinds of the class, and "the kind in the test data" where `test` has some.

        Raises TaskMismatch, InvalidData for a kind that spans classes or is a whole one, NotErasable for a named kind
        with public samples, EmptyRequest for one without samples.
        """
        coarse = whole_numbers(data, labelled(task, data).label)
        fine = whole_numbers(data, self.column)
        value = self._drawn(data, fine, coarse, seed) if self.value is None else self.value
        forget = fine == value
        if not bool(forget.any()):
            raise EmptyRequest(f"no sample of '{data.name}' has the {self.column} {value}", expected="a kind that is "
                               "there", do="choose another value")  # fmt: skip
        siblings = _siblings(forget, coarse)
        if siblings is None:
            raise InvalidData(f"{self.column} {value} of '{data.name}' is a whole class or spans several",
                              expected="a part of one class", do="choose a finer column, or the class")  # fmt: skip
        groups = {"siblings": data.take(torch.nonzero(siblings).flatten())}
        if test is not None and len(kind := test.where(self.column, value)):
            groups["the kind in the test data"] = kind
        request = Request(f"{self.column} {value}", data.take(torch.nonzero(forget).flatten()).ids)
        return Scenario("subclass", data, (request,), TRUTH, groups,
                        {**asdict(self), "seed": seed, "value": value, "label": int(coarse[forget][0])})  # fmt: skip

    def _drawn(self, data: Dataset, fine: Tensor, coarse: Tensor, seed: int) -> int:
        public = set(whole_numbers(data.public, self.column).tolist())
        can = [each for each in torch.unique(fine).tolist()
               if each not in public and _siblings(fine == each, coarse) is not None]  # fmt: skip
        if not can:
            raise EmptyRequest(f"no {self.column} in '{data.name}' is a part of one class without public samples",
                               expected="one at least", do="choose a finer column")  # fmt: skip
        return one_of(can, generator(seed, "subclass", self.column))


def _siblings(forget: Tensor, coarse: Tensor) -> Tensor | None:
    """Which samples are of the same class and stay; None for a kind that spans classes or is all of one."""
    classes = torch.unique(coarse[forget])
    others = torch.isin(coarse, classes) & ~forget
    return others if len(classes) == 1 and bool(others.any()) else None
