"""Every sample of one class. A retrained model has no training sample of it: it never gives that answer, and spreads
these samples over the classes that look alike, which a model that merely silences one output does not.
"""

from dataclasses import asdict, dataclass

import torch

from erasable._plumbing.seeds import generator
from erasable.dataset import Dataset
from erasable.errors import EmptyRequest
from erasable.request import Request
from erasable.scenario import Scenario
from erasable.scenarios._choice import one_of
from erasable.scenarios._labels import Labelled, labelled, whole_numbers

TRUTH = (
    "Tests a whole class: a retrained model never answers with it, on erased and test samples alike, "
    "and calls them by the classes that they resemble."
)


@dataclass(frozen=True, kw_only=True)
class OneClass:
    """All samples with the label `label`; without one, the seed chooses among the classes without public samples."""

    label: int | None = None

    def __call__(self, data: Dataset, task: Labelled, *, seed: int, test: Dataset | None = None) -> Scenario:
        """The group "the class in the test data" is there where `test` has some.

        Raises TaskMismatch, NotErasable for a named class with public samples, EmptyRequest for one without samples.
        """
        column = labelled(task, data).label
        label = self._drawn(data, column, seed) if self.label is None else self.label
        forget = data.where(column, label)
        if not len(forget):
            raise EmptyRequest(f"no sample of '{data.name}' has the label {label}", expected="a class that is there",
                               do="choose another label")  # fmt: skip
        groups = {} if test is None else {"the class in the test data": test.where(column, label)}
        return Scenario("one class", data, (Request(f"the class {label}", forget.ids),), TRUTH,
                        {name: each for name, each in groups.items() if len(each)},
                        {**asdict(self), "seed": seed, "label": label})  # fmt: skip

    @staticmethod
    def _drawn(data: Dataset, column: str, seed: int) -> int:
        every, public = (torch.unique(whole_numbers(each, column)).tolist() for each in (data, data.public))
        if not (closed := sorted(set(every) - set(public))):
            raise EmptyRequest(f"each class of '{data.name}' has public samples", expected="one that has none",
                               do="declare fewer samples public")  # fmt: skip
        return one_of(closed, generator(seed, "one class"))
