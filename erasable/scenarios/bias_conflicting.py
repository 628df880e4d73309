"""The samples that go against a short cut. In most pictures of a class some side feature has one and the same value (a
background, a colour); those where it has another are few, and taught the model to look past it.

Erasing them makes a retrained model lean on the short cut more. An unlearner that keeps accuracy on them as it was has
not forgotten; one that is asked for accuracy alone is pulled the wrong way. The terms are those of J. Nam et al.,
*Learning from failure* (NeurIPS 2020, arXiv 2007.02561).
"""

from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from erasable._plumbing.seeds import generator
from erasable.dataset import Dataset
from erasable.errors import EmptyRequest
from erasable.request import Request
from erasable.scenario import Scenario
from erasable.scenarios._choice import drawn, portion, refuse_share
from erasable.scenarios._labels import Labelled, labelled, whole_numbers

TRUTH = (
    "Tests the samples that taught the model to look past a short cut: a retrained model leans on it more, and errs "
    "more on samples that conflict with it, so the oracles' lower accuracy is the goal."
)


@dataclass(frozen=True, kw_only=True)
class BiasConflicting:
    """`share` of the samples whose `column` differs from the commonest value of their class (of equals, the least)."""

    column: str
    share: float = 0.5

    def __post_init__(self) -> None:
        refuse_share(self.share)

    def __call__(self, data: Dataset, task: Labelled, *, seed: int, test: Dataset | None = None) -> Scenario:
        """Groups, where there are any: aligned and conflicting samples that stay, the same in the test data.

        Raises TaskMismatch, InvalidData, EmptyRequest where no sample that may be erased conflicts.
        """
        task = labelled(task, data)
        label, bias = (whole_numbers(data, each) for each in (task.label, self.column))
        usual = {each: _commonest(bias[label == each]) for each in torch.unique(label).tolist()}
        conflicting = data.take(torch.nonzero(bias != _usual(label, usual)).flatten())
        if not len(conflicting.private):
            raise EmptyRequest(f"each erasable sample of '{data.name}' has its class's commonest {self.column}",
                               expected="some that differ", do="choose another column")  # fmt: skip
        count = min(portion(self.share, len(conflicting)), len(conflicting.private))
        forget = drawn(conflicting.private, count, generator(seed, "bias conflicting"))
        groups = {"bias-aligned": data.take(torch.nonzero(bias == _usual(label, usual)).flatten())}
        if len(forget) < len(conflicting):
            groups["bias-conflicting that stay"] = conflicting.without(forget.ids)
        if test is not None:
            known = test.take(torch.nonzero(torch.isin(whole_numbers(test, task.label), label)).flatten())
            aligned = whole_numbers(known, self.column) == _usual(whole_numbers(known, task.label), usual)
            groups["bias-aligned in the test data"] = known.take(torch.nonzero(aligned).flatten())
            groups["bias-conflicting in the test data"] = known.take(torch.nonzero(~aligned).flatten())
        request = Request(f"against the {self.column}, seed {seed}", forget.ids)
        facts = {**asdict(self), "seed": seed, "usual": {str(each): at for each, at in usual.items()}}
        return Scenario("bias-conflicting", data, (request,), TRUTH,
                        {name: each for name, each in groups.items() if len(each)}, facts)  # fmt: skip


def _commonest(values: Tensor) -> int:
    found, counts = torch.unique(values, return_counts=True)  # in rising order
    return int(found[counts.argmax()])


def _usual(label: Tensor, usual: dict[int, int]) -> Tensor:
    """The commonest value of each sample's class."""
    return torch.tensor([usual[each] for each in label.tolist()], dtype=torch.int64)
