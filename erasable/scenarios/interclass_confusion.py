"""Two classes confused: part of each carries the other's label, and these samples are then asked for.

The damage is to what generalises, so it is measured on test samples of both classes, which nobody trained on
(`erasable.metrics.interclass_confusion`). S. Goel et al., *Towards adversarial evaluations for inexact machine
unlearning* (2022, arXiv 2201.06640). The two classes lose equally many samples to each other here, so that their sizes
stay.
"""

from dataclasses import asdict, dataclass

import torch

from erasable._plumbing.seeds import generator
from erasable.dataset import Dataset
from erasable.errors import EmptyRequest, SettingsError
from erasable.request import Request
from erasable.scenario import Scenario
from erasable.scenarios._choice import drawn, portion, refuse_share
from erasable.scenarios._labels import Labelled, labelled, whole_numbers

TRUTH = (
    "Tests whether the harm of wrong samples goes with them: a retrained model, which never saw the swapped labels, "
    "tells the two classes apart on test samples as well as the rest allows."
)


@dataclass(frozen=True, kw_only=True)
class InterclassConfusion:
    """Swap the labels of equally many samples of both classes of `pair`: `share` of the smaller one's.

    Only samples that may be erased are swapped, and at least one of each class keeps its label.
    """

    pair: tuple[int, int] = (0, 1)
    share: float = 0.5

    def __post_init__(self) -> None:
        refuse_share(self.share)
        if len(set(self.pair)) != 2 or len(self.pair) != 2:
            raise SettingsError(f"pair={self.pair}", expected="two different classes", do="choose another pair")

    def __call__(self, data: Dataset, task: Labelled, *, test: Dataset, seed: int) -> Scenario:
        """`facts["wrong"]` is id -> swapped label. Groups: the test samples of both classes, the samples of both that
        keep their label, and the swapped ones with their right labels.

        Raises TaskMismatch, EmptyRequest for a class with too few samples in the data or none in `test`.
        """
        task = labelled(task, data)
        labelled(task, test)
        draws = generator(seed, "interclass confusion")
        sides = [data.where(task.label, each) for each in self.pair]
        able = min(min(len(side.private), len(side) - 1) for side in sides)
        if able < 1:
            raise EmptyRequest(f"class {self.pair[0]} or {self.pair[1]} of '{data.name}' has no sample to swap",
                               expected="two samples in each, one erasable", do="choose another pair")  # fmt: skip
        count = min(portion(self.share, min(map(len, sides))), able)
        swapped = data.only([each for side in sides for each in drawn(side.private, count, draws).ids])
        wrong = sum(self.pair) - whole_numbers(swapped, task.label)
        pair = torch.tensor(self.pair)
        both, asked = (each.take(torch.nonzero(torch.isin(whole_numbers(each, task.label), pair)).flatten())
                       for each in (data.without(swapped.ids), test))  # fmt: skip
        return Scenario(
            "interclass confusion", data.replace(task.label, swapped.ids, wrong),
            (Request(f"classes {self.pair[0]} and {self.pair[1]} confused, seed {seed}", swapped.ids),), TRUTH,
            {"confused test samples": asked, "the two classes, rightly labelled": both,
             "swapped samples with their right labels": swapped},
            {**asdict(self), "pair": list(self.pair), "seed": seed,
             "wrong": dict(zip(swapped.ids, wrong.tolist(), strict=True))},
        )  # fmt: skip
