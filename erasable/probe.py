"""Which samples a request is judged on, and what models say about them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from erasable._plumbing.seeds import generator
from erasable.dataset import Dataset
from erasable.errors import TaskMismatch
from erasable.evidence import Evidence, exposed
from erasable.request import Request
from erasable.signals import confidence_of, correct_of, log_probabilities, prediction_of
from erasable.signals.margin import margin_of
from erasable.task import LogitTask

MOST = 2_000  # retained and test samples that are looked at


@dataclass(frozen=True, eq=False)
class Probe:
    """The samples that a request is judged on; all views of `data` and `test`.

    retain  of the retained training data, test: of the test data in classes that are still trained on; a seeded random
            choice of at most `most` each
    peers   of the test data, the mix of classes as close as it can be to the erased samples', as many as these or as
            there are; None where the test data have none of these classes
    """

    request: Request
    task: LogitTask
    data: Dataset
    forget: Dataset
    retain: Dataset
    test: Dataset
    peers: Dataset | None
    retained: int
    gone: tuple[str, ...]  # names of classes of which no training sample remains
    names: tuple[str, ...]

    @classmethod
    def of(
        cls, request: Request, data: Dataset, test: Dataset, task: Any, *, seed: int = 0, most: int = MOST
    ) -> "Probe":
        """Raises what Request.split raises, and TaskMismatch for a task without a finite set of answers."""
        if not isinstance(task, LogitTask):
            raise TaskMismatch(f"{type(task).__name__} has no finite set of answers", expected="a task with `logits`",
                               do="judge its losses by hand with erasable.signals.loss")  # fmt: skip
        split = request.split(data)
        erased, kept, fresh = (_labels(task, each) for each in (split.forget, split.retain, test))
        gone = sorted(set(erased.tolist()) - set(kept.tolist()))
        still = test.take(torch.nonzero(~torch.isin(fresh, torch.tensor(gone, dtype=fresh.dtype))).flatten())
        draws = generator(seed, "probe")
        order = torch.randperm(len(test), generator=draws)
        alike = [order[fresh[order] == label][: int((erased == label).sum())] for label in torch.unique(erased)]
        peers = torch.cat(alike).sort().values
        classes = data.facts.get("classes") or range(task.classes)
        return cls(
            request=request,
            task=task,
            data=data,
            forget=split.forget,
            retain=_some(split.retain, most, draws),
            test=_some(still, most, draws),
            peers=test.take(peers) if len(peers) else None,
            retained=len(split.retain),
            gone=tuple(str(classes[each]) for each in gone),
            names=tuple(str(each) for each in classes),
        )

    def part(self, ids: Iterable[str], case: str) -> "Probe":
        """Some of the erased samples by themselves, with peers of their classes; the others are then nowhere.

        Raises what Request and `Dataset.only` raise.
        """
        request = Request(case, tuple(ids))
        forget = self.forget.only(request.ids)
        peers = None
        if self.peers is not None:
            erased, alike = _labels(self.task, forget), self.labels["peers"]
            at = [torch.nonzero(alike == label).flatten()[: int((erased == label).sum())]
                  for label in torch.unique(erased)]  # fmt: skip
            chosen = torch.cat(at).sort().values
            peers = self.peers.take(chosen) if len(chosen) else None
        return replace(self, request=request, forget=forget, peers=peers)

    @cached_property
    def labels(self) -> dict[str, Tensor]:
        """The right answers of each part."""
        return {part: _labels(self.task, data) for part, data in self.parts.items()}

    @property
    def parts(self) -> dict[str, Dataset]:
        parts = {"forget": self.forget, "retain": self.retain, "test": self.test}
        return parts if self.peers is None else {**parts, "peers": self.peers}

    @property
    def gone_classes(self) -> tuple[int, ...]:
        """The numbers of the classes that are `gone`, ascending."""
        erased = sorted(set(self.labels["forget"].tolist()))
        return tuple(each for each in erased if self.names[each] in self.gone)

    @property
    def gone_class(self) -> int | None:
        """The one class of which no training sample remains; None for no class or several, or without test samples."""
        erased = set(self.labels["forget"].tolist())
        return self.gone_classes[0] if len(self.gone) == len(erased) == 1 and self.peers is not None else None

    def look(self, models: Sequence[Any]) -> "Observation":
        """What the models say now; call it before and after an erasure that works in place."""
        seen = {part: log_probabilities(models, self.task, data, fitted=exposed(models, data.ids))
                for part, data in self.parts.items()}  # fmt: skip
        return Observation(self, seen)


@dataclass(frozen=True, eq=False)
class Observation:
    """Log-probabilities of some models on the parts of a probe, and what derives from them."""

    probe: Probe
    log_p: dict[str, Evidence]

    def on(self, part: Probe) -> "Observation":
        """What was said of the samples of `Probe.part`."""
        seen = {}
        for name, data in part.parts.items():
            places = {each: i for i, each in enumerate(self.log_p[name].ids)}
            seen[name] = self.log_p[name].samples(torch.tensor([places[each] for each in data.ids]))
        return Observation(part, seen)

    @cached_property
    def confidence(self) -> dict[str, Evidence]:
        return {part: confidence_of(each, self.probe.labels[part]) for part, each in self.log_p.items()}

    @cached_property
    def correct(self) -> dict[str, Evidence]:
        return {part: correct_of(each, self.probe.labels[part]) for part, each in self.log_p.items()}

    @cached_property
    def margin(self) -> dict[str, Evidence]:
        return {part: margin_of(each, self.probe.labels[part]) for part, each in self.log_p.items()}

    @cached_property
    def fresh(self) -> Evidence:
        """Log-probabilities on test samples, and after them on the peers."""
        return self.log_p["test"].joined(self.log_p["peers"])

    @cached_property
    def prediction(self) -> Evidence:
        return prediction_of(self.log_p["forget"])


def _labels(task: LogitTask, data: Dataset) -> Tensor:
    return task.labels(task.batch(data, torch.arange(len(data))))


def _some(data: Dataset, most: int, draws: torch.Generator) -> Dataset:
    return data.take(torch.randperm(len(data), generator=draws)[:most].sort().values)
