"""The unlearning game: models on random halves, each of which unlearns a part; can anybody tell who was unlearned?

    fleet = train_fleet(method, data, task, halves(data, models=64, seed=0), folder=...)
    game  = play(fleet, "forget", share=0.1)
    game.findings("SPM")                       U-LiRA in both games, the most exposed samples, those who stayed;
                                               LiRA, RMIA, KLoM and the challenge's score beside

It judges a way of unlearning, not one model: every sample is in and unlearned for some models, and was never there for
others, so each has its own two distributions. This is the strongest test of single samples here, and the dearest: it
trains a fleet. One fleet serves every method that starts from the same training.

J. Hayes et al., *Inexact Unlearning Needs More Careful Evaluations to Avoid a False Sense of Privacy* (SaTML 2025,
arXiv 2403.01218); see `attacks/ulira.py` for the attack.
"""

from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from erasable._plumbing.seeds import generator
from erasable.attacks._rates import auc, per_sample, rates
from erasable.attacks.lira import lira, memorisation, strata
from erasable.attacks.rmia import rmia
from erasable.attacks.ulira import LEAST, Null, ulira, ulira_retained
from erasable.dataset import Dataset
from erasable.errors import EvidenceError, PopulationTooSmall, SettingsError
from erasable.evidence import Evidence, Finding, Scores, binomial_interval
from erasable.exhibits import roc_of
from erasable.fleet import Fleet, Log, Plan, unlearn_fleet
from erasable.metrics.challenge_score import challenge_score_of_sides
from erasable.metrics.klom import klom_of_sides
from erasable.report import Control, Roc, Row, Stratum
from erasable.signals import correct_of, log_probabilities
from erasable.signals.margin import margin_of
from erasable.unlearner import Progress, Unlearner

NULL_DRAWS = 40  # of the control without a leak
GAMES: tuple[Null, ...] = ("privacy", "efficacy")


@dataclass(frozen=True, eq=False)
class Game:
    """What the models of a fleet say of its samples, before and after each unlearned its part.

    before, after  the signal `margin`, (models, samples); `member` says who was in before
    forgotten      (models, samples) bool: in, and then unlearned
    correct        the signal `correct` before, from which memorisation is taken
    """

    before: Evidence
    after: Evidence
    forgotten: Tensor
    correct: Evidence
    notes: tuple[str, ...] = ()

    def scores(self, null: Null) -> Scores:
        """U-LiRA's scores in one of its two games."""
        return ulira(self.after, self.forgotten, null=null, plain=self.before if null == "efficacy" else None)

    def findings(self, subject: str) -> tuple[Finding, ...]:
        """For both games the rates and the sample that is attacked best; what happened to those who stayed; then, not
        judged, `unaware` and `distances`."""
        found: list[Finding] = []
        for null in GAMES:
            scores = self.scores(null)
            found += [*rates(scores, subject=subject), _most_exposed(scores, subject)]
        stayed = auc(ulira_retained(self.after, self.forgotten), subject=subject)
        untouched = auc(ulira_retained(self.before, self.forgotten), subject=subject)
        found.append(stayed.model_copy(update={"note": f"{untouched.value:.1f} % before anybody was unlearned"}))
        return (*found, *self.unaware(subject), *self.distances(subject))

    def unaware(self, subject: str) -> tuple[Finding, ...]:
        """An attacker who does not know of unlearning: fitted on models that unlearned nothing, let loose on those that
        did. LiRA, the same before anybody was unlearned, and RMIA; unlearned against never-seen samples in each case.
        Each model is left out of what judges it."""
        counted = self.forgotten | ~self.before.member
        asked = partial(lira, truth=self.forgotten, counted=counted)
        before, after = (Evidence("confidence", each.ids, each.values.double().sigmoid(), each.member)
                         for each in (self.before, self.after))  # fmt: skip
        sample_wise = auc(asked(self.after, self.before, paired=True), subject=subject)
        untouched = auc(asked(self.before), subject=subject)
        relative = rmia(after, after, references=(before, before), paired=True, online=True,
                        truth=self.forgotten, counted=counted)  # fmt: skip
        return (
            sample_wise.model_copy(update={"note": "by an attacker who does not know that anything was unlearned"}),
            untouched.model_copy(update={"metric": f"{untouched.metric} before unlearning"}),
            auc(relative, subject=subject),
        )

    def distances(self, subject: str, *, seed: int = 0) -> tuple[Finding, ...]:
        """KLoM and the challenge's score between models that unlearned a sample and models that never had it, with as
        many of the latter in the former's place beside. Nothing where no sample has models enough."""
        sides = self.forgotten, ~self.after.member
        found: list[Finding] = []
        with suppress(EvidenceError):  # too few models, or a null of 0
            found += klom_of_sides(self.after, *sides, subject=subject, seed=seed)
            found.append(challenge_score_of_sides(self.after, *sides, subject=subject, seed=seed)[1])
        return tuple(found)

    def rocs(self) -> tuple[Roc, ...]:
        return tuple(roc_of(self.scores(null)) for null in GAMES)

    def memorisation(self) -> Tensor:
        """(samples,) how much more often models that had a sample get it right than models that did not."""
        return memorisation(self.correct)

    def strata(self, subject: str) -> tuple[Stratum, ...]:
        """The rates again, for samples that are memorised little, somewhat and most."""
        parts, scores = strata(self.memorisation()), self.scores("privacy")
        found = []
        for name, at in zip(parts._fields, parts, strict=True):
            own = _only(scores, at)
            if _both(own):
                findings = rates(own, subject=subject)[:3]
                found.append(Stratum(name=f"{name} memorisation", samples=len(at), findings=findings))
        return tuple(found)

    def controls(self, *, seed: int = 0) -> tuple[Control, ...]:
        """The alarm: the same attack on the same models before they unlearned. The null: never-seen pairs, called
        forgotten at random, again and again."""
        alarm = auc(ulira(self.before, self.forgotten), subject="untouched")
        rings = alarm.interval is not None and alarm.interval[0] > 50
        never, rang = ~self.after.member, 0
        for draw in range(NULL_DRAWS):
            called = never & (torch.rand(never.shape, generator=generator(seed, "null", draw)) < 0.5)
            pretended = Evidence(self.after.signal, self.after.ids, self.after.values, self.after.member | called)
            low, high = auc(ulira(pretended, called), subject="null").interval or (0.0, 100.0)
            rang += not low <= 50 <= high
        name = "U-LiRA privacy AUC"
        return (
            Control(name="models that unlearned nothing", attack=name, should_ring=True, rang=int(rings), draws=1,
                    passed=rings, note=f"AUC {alarm.value:.1f} %"),
            Control(name="never seen, called forgotten by lot", attack=name, should_ring=False, rang=rang,
                    draws=NULL_DRAWS, passed=binomial_interval(rang, NULL_DRAWS)[0] <= 0.05,
                    note="95 % intervals should leave out 50 % about once in 20"),
        )  # fmt: skip


def play(
    fleet: Fleet,
    unlearner: Unlearner[Any] | Literal["forget"],
    *,
    share: float = 0.1,
    seed: int = 0,
    folder: Path | str | None = None,
    progress: Progress | None = None,
    log: Log | None = None,
) -> Game:
    """Let every model unlearn `share` of the plan's targets that it was trained on, drawn at random.

    Raises what `requests` and `unlearn_fleet` raise, and TaskMismatch for tasks without a finite set of answers.
    """
    asked = requests(fleet.plan, share=share, seed=seed)
    at = torch.nonzero(fleet.plan.targets).flatten()
    looked, members = fleet.data.take(at), fleet.plan.members[:, at]
    after = unlearn_fleet(fleet, unlearner, asked, seed=seed, folder=folder, progress=progress, log=log)
    labels = fleet.task.labels(fleet.task.batch(looked, torch.arange(len(looked))))
    said = [log_probabilities(each.models, fleet.task, looked, fitted=members) for each in (fleet, after)]
    first, second = (margin_of(each, labels) for each in said)
    return Game(first, second, asked[:, at], correct_of(said[0], labels), (*fleet.notes, *after.notes))


def requests(plan: Plan, *, share: float, seed: int = 0) -> Tensor:
    """(models, n) bool: whom each model unlearns in `play`; known before any model is trained.

    Raises SettingsError for a share outside (0, 1), PopulationTooSmall where no sample could be judged.
    """
    if not 0 < share < 1:
        raise SettingsError(f"share={share}", expected="between 0 and 1", do="name the part that is unlearned")
    at = torch.nonzero(plan.targets).flatten()
    size = max(1, round(share * int(plan.members[0, at].sum())))
    asked = plan.requests(size, seed=seed, among=[plan.ids[each] for each in at.tolist()])
    if not judged(plan, asked):
        raise PopulationTooSmall(f"an unlearning game of {len(plan)} models that unlearn {size} of "
                                 f"{int(plan.members[0, at].sum())} samples each",
                                 expected=f"some sample that {LEAST} of them unlearn and {LEAST} never see",
                                 do="ask for more models")  # fmt: skip
    return asked


def judged(plan: Plan, asked: Tensor) -> int:
    """How many samples enough models unlearn, and enough others never see, to be judged."""
    enough = (asked.sum(0) >= LEAST) & ((~plan.members).sum(0) >= LEAST)
    return int(enough.sum())


def halves(data: Dataset, *, models: int, seed: int) -> Plan:
    """Random halves of what somebody may ask to erase; what was declared public is in every model."""
    if not len(data.public):
        return Plan.halves(data.ids, models=models, seed=seed)
    own = Plan.halves(data.private.ids, models=models, seed=seed)
    everywhere = torch.ones(models, len(data.public), dtype=torch.bool)
    return Plan((*own.ids, *data.public.ids), torch.cat([own.members, everywhere], dim=1), own.seeds,
                torch.cat([own.targets, torch.zeros(len(data.public), dtype=torch.bool)]))  # fmt: skip


def with_game(row: Row, game: Game, *, decides: bool = True) -> Row:
    """The row with what the game found. A privacy game whose 95 % interval lies above guessing makes it "remembered",
    unless it was played by other means than the row's model was made with, and so does not decide about it.

    The efficacy game alone does not: its never-seen pairs come from models that were trained on more, since nothing was
    taken from them, and that difference shows too.
    """
    found = game.findings(row.name)
    privacy, efficacy = (next(each for each in found if each.metric == f"U-LiRA {null} AUC") for null in GAMES)
    leaks = privacy.interval is not None and privacy.interval[0] > 50
    models = f"{game.after.models} models that were erased from alike, at random"
    told = _in_words(privacy)
    words = (f"Leaks in the unlearning game: unlearned samples can be told from never seen ones by {models}: {told}."
             if leaks else
             f"In the unlearning game {models} do not tell unlearned from never seen samples: {told}.")  # fmt: skip
    if efficacy.interval is not None and efficacy.interval[0] > 50:
        words += f" Against models from which nothing was erased they differ: {_in_words(efficacy)}."
    return row.model_copy(update={
        "status": "remembered" if leaks and decides else row.status,
        "verdict": f"{words} On the erased samples themselves: {row.verdict}" if leaks and decides
                   else f"{row.verdict} {words}",
        "shown": (*row.shown, *found),
        "roc": (*row.roc, *game.rocs()),
        "strata": game.strata(row.name),
    })  # fmt: skip


def _in_words(finding: Finding) -> str:
    low, high = finding.interval or (0.0, 100.0)
    return f"{finding.metric} {finding.value:.1f} % (95 % interval {low:.1f} to {high:.1f})"


def _most_exposed(scores: Scores, subject: str) -> Finding:
    """The 95th percentile over samples of each one's own AUC: chance alone spreads these widely with few models."""
    found, at = per_sample(scores)
    pairs = float(scores.counted[:, at].sum(0).double().mean())
    return Finding(metric=f"{scores.attack}, AUC that 5 % of samples exceed", subject=subject, unit="%", n=len(found),
                   value=float(torch.quantile(found, 0.95)), models=len(scores.values), direction="lower",
                   note=f"about {pairs:.0f} pairs per sample: without any leak it is well above 50")  # fmt: skip


def _only(scores: Scores, at: Tensor) -> Scores:
    ids = tuple(scores.ids[each] for each in at.tolist())
    return Scores(scores.attack, ids, scores.values[:, at], scores.truth[:, at], scores.counted[:, at])


def _both(scores: Scores) -> bool:
    return bool((scores.counted & scores.truth).any() and (scores.counted & ~scores.truth).any())
