"""One request and the models that all rows of `low_influence.py` share: what is remembered, audited and timed there."""

import copy
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from scipy.stats import spearmanr

from erasable import Dataset, Network, Population, Probe, Request, Subject, forget, judge
from erasable.report import Row
from erasable.unlearners.low_influence import LowInfluence

ORACLES, TARGETS, SAW, ROUNDS, LOOKED = 19, 3, 6, 5, 600
SCORES = ("gradient-norm", "similarity", "influence", "loss", "random")
FILTERS: dict[str, dict[str, Any]] = {
    **{score: {"score": score} for score in SCORES},
    "gradient-norm, quantile 0.25": {"quantile": 0.25},
    "gradient-norm, quantile 0.75": {"quantile": 0.75},
    "gradient-norm, half of the retained too": {"retain_quantile": 0.5},
}
SHOWN = ("forget accuracy", "per-sample attack AUC", "calibrated confidence", "membership AUROC", "test accuracy")


@dataclass(frozen=True)
class Bench:
    """One request, and the models that all rows share. `copies`: ids of exact copies, with the ids of the originals."""

    method: Network
    data: Dataset
    test: Dataset
    task: Any
    request: Request
    copies: dict[str, str]

    def trained(self, without: Sequence[str], seeds: range) -> Population:
        data = self.data.without(without) if without else self.data
        return Population(tuple(self.method.train(data, self.task, seeds=seeds)), tuple(seeds), "oracle")

    @cached_property
    def probe(self) -> Probe:
        return Probe.of(self.request, self.data, self.test, self.task, most=LOOKED)

    @cached_property
    def oracles(self) -> Population:
        return self.trained(self.request.ids, range(1000, 1000 + ORACLES))

    @cached_property
    def targets(self) -> tuple[Any, ...]:
        return self.trained((), range(TARGETS)).models

    @cached_property
    def as_they_were(self) -> dict[str, Any]:
        again = self.trained(self.request.ids, range(2000, 2000 + TARGETS))
        return {"nothing": self.targets, "second oracle": again.models}

    def left(self, seed: int, settings: dict[str, Any]) -> frozenset[str]:
        split = self.request.split(self.data)
        model = copy.deepcopy(self.targets[seed])
        return frozenset(LowInfluence(**settings).divide(model, split, self.task, seed=seed)[1])

    def memorised(self) -> dict[str, Any]:
        """What the scores say, beside what training with and without the samples says."""
        split = self.request.split(self.data)
        erased, originals = split.forget.ids, tuple(dict.fromkeys(self.copies.values()))
        doubled = torch.tensor([each in self.copies or each in originals for each in erased])
        (saw, right), (never, missed) = self.known(self.trained((), range(3000, 3000 + SAW))), self.known(self.oracles)
        margin, groups = saw - never, {"by heart": right - missed >= 0.5}
        groups |= {"copies": doubled} if self.copies else {}
        scores: dict[str, Any] = {}
        for score in SCORES:
            way, rho = LowInfluence(score=score), []
            for seed, model in enumerate(self.targets):
                found = way.scores(copy.deepcopy(model), split.forget, split, self.task, seed=seed)
                rho.append(float(spearmanr(found, margin).statistic))
            left = [torch.tensor([each in self.left(seed, {"score": score}) for each in erased])
                    for seed in range(TARGETS)]  # fmt: skip
            scores[score] = {"spearman": mean(rho)} | {
                f"{name} left alone, %": mean([100 * float((each & side).sum() / side.sum().clamp(min=1))
                                               for each in left]) for name, side in groups.items()}  # fmt: skip
        margins = {"all": margin}
        if self.copies:
            first = torch.tensor([each in originals for each in erased])
            alone = saw - self.known(self.trained(originals, range(4000, 4000 + SAW)))[0]
            margins |= {"one copy": alone[first], "all five copies": margin[first], "others": margin[~doubled]}
        return {"margin": {name: round(float(each.mean()), 3) for name, each in margins.items()}, "scores": scores,
                **{name: int(each.sum()) for name, each in groups.items()}}  # fmt: skip

    def known(self, models: Population) -> tuple[torch.Tensor, torch.Tensor]:
        """Of each erased sample, the mean margin and the share of right answers."""
        seen = self.probe.look(models.models)
        return seen.margin["forget"].values.mean(0), seen.correct["forget"].values.double().mean(0)

    def baselines(self, ct: Any) -> dict[str, Any]:
        ways = self.as_they_were | ({} if ct is None else {"CT": self.after(ct)})
        return {name: summed(each) for name, each in self.judged(ways, self.probe, range(TARGETS)).items()}

    def audited(self, ways: dict[str, Any], settings: dict[str, Any] | None) -> dict[str, Any]:
        """All inner methods behind one filter, on all samples and on parts of them."""
        rows: dict[str, dict[str, list[Any]]] = {}
        after = {name: self.after(way if settings is None else LowInfluence(inner=way, **settings))
                 for name, way in ways.items()}  # fmt: skip
        if ways:
            rows["all"] = self.judged(after, self.probe, range(TARGETS))
        for seed in range(0 if settings is None else TARGETS):
            left = self.left(seed, settings or {})
            doubled = {*self.copies, *self.copies.values()}
            asked = {"left alone": left, "shown": set(self.request.ids) - left, "copies left alone": left & doubled}
            for name, ids in asked.items():
                if ids:
                    part = self.probe.part([each for each in self.request.ids if each in ids], name)
                    one = {way: (models[seed],) for way, models in {**after, **self.as_they_were}.items()}
                    for way, found in self.judged(one, part, [seed]).items():
                        rows.setdefault(name, {}).setdefault(way, []).extend(found)
        return {part: {name: summed(each) for name, each in found.items()} for part, found in rows.items()}

    def after(self, way: Any) -> tuple[Any, ...]:
        return tuple(forget(each, self.request, data=self.data, unlearner=way, seed=seed)[0]
                     for seed, each in enumerate(self.targets))  # fmt: skip

    def judged(self, ways: dict[str, Any], probe: Probe, seeds: Sequence[int]) -> dict[str, list[Any]]:
        subjects = [Subject(name=f"{name}/{seed}", model=each, oracles=self.oracles,
                            before=probe.look([self.targets[seed]]))
                    for name, models in ways.items() for seed, each in zip(seeds, models, strict=True)]  # fmt: skip
        found: dict[str, list[Any]] = {}
        for row in judge(subjects, probe, title=probe.request.case, suite="standard", samples=0).rows:
            found.setdefault(row.name.partition("/")[0], []).append(row)
        return found

    def timed(self, way: Any) -> dict[str, Any]:
        """CPU seconds of an erasure without a filter and with each, in turns, after one that is not counted."""
        split, ways = self.request.split(self.data), {"none": way}
        ways |= {name: LowInfluence(inner=way, **each) for name, each in FILTERS.items()}
        spent: dict[str, list[float]] = {name: [] for name in ways}
        way(copy.deepcopy(self.targets[0]), split, self.task, seed=0)
        for turn in range(ROUNDS):
            for name, each in ways.items():
                model, start = copy.deepcopy(self.targets[0]), time.process_time()
                each(model, split, self.task, seed=turn)
                spent[name].append(time.process_time() - start)
        ratios = {name: [a / b for a, b in zip(each, spent["none"], strict=True)] for name, each in spent.items()}
        return {name: {"seconds": round(statistics.median(spent[name]), 4), "ratio": round(statistics.median(each), 3),
                       "range": [round(min(each), 3), round(max(each), 3)]}
                for name, each in ratios.items()}  # fmt: skip


def mean(values: Sequence[float]) -> float:
    return round(statistics.fmean(values), 3)


def summed(rows: Sequence[Row]) -> dict[str, Any]:
    """Statuses of the models, and per number their mean and that of the oracles."""
    found = {name: [each for row in rows if (each := row.finding(name)) is not None] for name in SHOWN}
    numbers = {name: [mean([each.value for each in of]), mean([each.null_mean or 0.0 for each in of])]
               for name, of in found.items() if of}  # fmt: skip
    return {"statuses": [row.status for row in rows], "samples": mean([row.judged[0].n for row in rows]), **numbers}
