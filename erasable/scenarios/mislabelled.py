"""Canaries: samples with wrong labels, which only a model that was trained on them gives back.

Success is exact: how often is a canary answered with *its* wrong label (`erasable.metrics.canaries`)? A model that
never saw the canary errs that way by chance alone, so each one tells by itself, without a shadow model.
"""

from dataclasses import asdict, dataclass

import torch

from erasable._plumbing.seeds import generator
from erasable.dataset import Dataset
from erasable.errors import TaskMismatch
from erasable.request import Request
from erasable.scenario import Scenario
from erasable.scenarios._choice import drawn, portion, refuse_share
from erasable.scenarios._labels import Labelled, labelled, whole_numbers

TRUTH = (
    "Tests whether what was learnt by heart is gone: a retrained model answers a canary with its wrong label "
    "only as often as it errs that way on any sample, and mostly gives the right one."
)


@dataclass(frozen=True, kw_only=True)
class Mislabelled:
    """`share` of all samples get a wrong label, each other class as likely, and are then asked for."""

    share: float = 0.01

    def __post_init__(self) -> None:
        refuse_share(self.share)

    def __call__(self, data: Dataset, task: Labelled, *, seed: int) -> Scenario:
        """`facts["wrong"]` is id -> wrong label; the group is the canaries as they were, with their right labels.

        Raises TaskMismatch for a task without labels or with one class, SettingsError for more than may be erased.
        """
        task = labelled(task, data)
        if task.classes < 2:
            raise TaskMismatch("wrong labels where there is one class", expected="two classes or more",
                               do="choose another scenario")  # fmt: skip
        draws = generator(seed, "mislabelled")
        canaries = drawn(data.private, portion(self.share, len(data)), draws)
        right = whole_numbers(canaries, task.label)
        wrong = (right + torch.randint(1, task.classes, right.shape, generator=draws)) % task.classes
        return Scenario(
            "mislabelled canaries", data.replace(task.label, canaries.ids, wrong),
            (Request(f"mislabelled canaries, seed {seed}", canaries.ids),), TRUTH,
            {"canaries with their right labels": canaries},
            {**asdict(self), "seed": seed, "wrong": dict(zip(canaries.ids, wrong.tolist(), strict=True))},
        )  # fmt: skip
