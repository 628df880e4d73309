"""What an audit by suite has to do before it can judge, and how long that takes: found out before it begins."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from erasable._plumbing.progress import Steps, duration
from erasable.cli._trainings import Trainings
from erasable.errors import PopulationTooSmall, SettingsError, TaskMismatch
from erasable.population import Population
from erasable.score_audit import TOO_FEW as TOO_FEW

ORACLES = {"quick": 8, "standard": 16, "full": 16}
MODELS, FEWEST = 32, 16  # shadow models of the unlearning game
LEAST = 0.1  # of each shadow model's samples is unlearned, whatever was asked: more samples are judged
PAIRS = 3  # shadow models that unlearn a sample on average, at least: the attack needs so many to judge it
LONG = 10.0  # seconds of an unlearning that is not tried only to tell how long it takes
TRIED = 2_000  # samples of such a trial
RELEARNING = 30  # steps until a model knows the samples again, for the time that is announced


def refuse(suite: str, models: int | None) -> None:
    """Raises SettingsError for an unknown suite, or a number of shadow models that it cannot have."""
    if suite not in ORACLES:
        raise SettingsError(f"--suite {suite}", expected="quick, standard or full", do="choose one of these")
    if models is not None and (suite != "full" or models < FEWEST or models % 2):
        raise SettingsError(f"--models {models} with --suite {suite}", do="leave it out, or ask for another number",
                            expected=f"an even number of at least {FEWEST}, with --suite full")  # fmt: skip


def as_rehearsed(suite: str) -> Any:
    """The suite, of those that a model which nobody stored can have. Raises SettingsError."""
    if suite not in ("quick", "standard"):
        raise SettingsError(f"--suite {suite}", expected="quick or standard", do="choose one of these")
    return suite


def refuse_few(oracles: int) -> None:
    """Raises PopulationTooSmall."""
    if oracles < 2:
        raise PopulationTooSmall(f"{oracles} oracles", expected="at least 2",
                                 do="train more: one model hides seed noise")  # fmt: skip


def judging_seconds(model: Any, probe: Any, oracles: int, suite: str, relearn: bool) -> float:
    """What looking at all models and teaching them again will take. Raises TaskMismatch for what cannot be taught."""
    from erasable.cli.audit import refuse_untrainable

    once = _fastest(lambda: probe.look([model]))
    if relearn:
        once += RELEARNING * _fastest(lambda: refuse_untrainable(model, probe.task, probe))
    curves = _curve_seconds(model, probe) if suite == "full" else 0.0
    subjects = 2  # the model and what it is compared with, each beside a network with random weights
    return 1.0 + (oracles + subjects) * once + (oracles + 3 * subjects) * curves


def _curve_seconds(model: Any, probe: Any) -> float:
    """All that the suite "full" does to one model, done once; what cannot be done to it is left out there too."""
    from erasable.recoverability import HANDLED, LINEAR, Oracles

    begin, alone = time.perf_counter(), Oracles([model], probe, 0)
    for learn, names in ((alone.curves, alone.lessons), (alone.correct, (*HANDLED, LINEAR))):
        for name in names:
            with suppress(TaskMismatch):
                learn(name)
    return time.perf_counter() - begin


def _fastest(do: Callable[[], Any]) -> float:
    """Seconds, of three times: the first sets things up, and what disturbs only makes it slower."""
    found = []
    for _ in range(3):
        begin = time.perf_counter()
        do()
        found.append(time.perf_counter() - begin)
    return min(found)


class Work:
    """The trainings of an audit, each a step whose seconds were measured before the first of them began.

    seeds    of the oracles; none where they were given
    control  the seed of a model that is trained on everything; None where there is no need for one
    game     with the seconds of one unlearning
    """

    def __init__(
        self,
        trainings: Trainings,
        steps: Steps,
        *,
        gone: Sequence[str],
        seeds: Sequence[int],
        control: int | None,
        judging: float,
        game: "Game | None",
        unlearning: float,
    ) -> None:
        self.trainings, self.steps, self.gone, self.seeds, self.game = trainings, steps, gone, seeds, game
        self.control_seed, self.judging = control, judging
        self.oracle_seconds = trainings.oracle_seconds(gone, seeds) if seeds else 0.0
        self.control_seconds = 0.0 if control is None else trainings.control_seconds(control)
        self.game_seconds = trainings.seconds(game.plan) if game else 0.0
        self.unlearning = len(game.plan) * (0.05 + unlearning) if game else 0.0
        steps.expected = (self.oracle_seconds + self.control_seconds + judging + self.game_seconds + self.unlearning
                          + 0.5)  # fmt: skip

    def announce(self, oracles: str, suite: str, begin: float) -> float:
        """Say what will be done and about how long it takes, from `begin` on; gives the seconds."""
        announced = self.steps.expected + time.perf_counter() - begin
        more = f" and {len(self.game.plan)} shadow models" if self.game else ""
        self.steps.say(f"Audit of {len(self.gone)} erased samples with {oracles}{more}, suite {suite}: about "
                       f"{duration(announced)}")  # fmt: skip
        return announced

    def oracles(self) -> Population:
        what = f"training {len(self.seeds)} models without the erased samples"
        with self.steps.step(what, about=self.oracle_seconds) as told:
            return self.trainings.oracles(self.gone, self.seeds, told)

    def control(self) -> Any:
        assert self.control_seed is not None
        with self.steps.step("training a control on everything", about=self.control_seconds) as told:
            return self.trainings.control(self.control_seed, told)

    def played(self, section: Any) -> Any:
        """The section with what the game found, where there is one."""
        game = self.game
        if game is None:
            return section
        what = f"training {len(game.plan)} shadow models on random halves"
        with self.steps.step(what, about=self.game_seconds) as told:
            fleet = self.trainings.fleet(game.plan, told)
        with self.steps.step(f"unlearning from each of them ({game.name})", about=self.unlearning) as told:
            return game.played(section, fleet, self.trainings.folder, told)


class Game(NamedTuple):
    """The unlearning game of an audit, as far as it is known before anything is trained."""

    plan: Any
    share: float
    seed: int
    way: Any
    name: str
    cautions: tuple[str, ...]
    decides: bool = True  # not where the models were made by other means than the audited one

    @classmethod
    def of(cls, way: Any, name: str, samples: Any, erased: int, shadows: int, seed: int) -> "Game":
        """`way`: an unlearner, or "forget"; `name` tells it. Raises PopulationTooSmall for too few models."""
        from dataclasses import replace

        import torch

        from erasable.game import halves, judged, requests
        from erasable.unlearner import Tried

        plan, cautions = halves(samples, models=shadows, seed=seed), []
        known = frozenset(way.development) if isinstance(way, Tried) else frozenset()
        if tuned := [each for each in plan.ids if each in known]:
            plan = replace(plan, targets=plan.targets & ~torch.tensor([each in known for each in plan.ids]))
            cautions.append(f"The {len(tuned)} samples by which the unlearner was tuned play no part in the unlearning "
                            "game.")  # fmt: skip
        share = min(0.5, max(LEAST, 2 * PAIRS / shadows, erased / len(samples.private)))
        asked = requests(plan, share=share, seed=seed)
        count, targets = judged(plan, asked), int(plan.targets.sum())
        if 2 * count < targets:
            cautions.append(f"The unlearning game judges {count} of {targets} samples only: the others are not "
                            f"unlearned by {PAIRS} of its {shadows} models. More models judge more.")  # fmt: skip
        return cls(plan, share, seed, way, name, tuple(cautions))

    def seconds(self, model: Any, samples: Any, told: float | None = None) -> float:
        """Of one unlearning: what was `told` where that is long or the model would be changed in place, else tried, on
        a part of the samples where they are many."""
        from erasable.request import Request
        from erasable.unlearner import Tried, forget

        if told is not None and (self.way == "forget" or told > LONG):
            return told
        held = samples.take(self.plan.positions[0])
        part = held.take(np.arange(min(TRIED, len(held))))
        known = frozenset(self.way.development) if isinstance(self.way, Tried) else frozenset()
        may = [each for each in part.private.ids if each not in known]
        ids = may[: max(1, round(self.share * len(may)))]
        begin = time.perf_counter()
        forget(model, Request("trial", ids), data=part, unlearner=self.way, seed=self.seed)
        return (time.perf_counter() - begin) * len(held) / len(part)

    def played(self, section: Any, fleet: Any, folder: Path, progress: Any) -> Any:
        """The section with what the game found in its first row, its controls and its cautions."""
        from erasable.game import play, with_game
        from erasable.verdict import summary_of

        game = play(fleet, self.way, share=self.share, seed=self.seed, folder=folder, progress=progress)
        row, *others = section.rows
        rows = (with_game(row, game, decides=self.decides), *others)
        return section.model_copy(update={"rows": rows, "controls": (*section.controls, *game.controls(seed=self.seed)),
                                          "cautions": (*section.cautions, *self.cautions),
                                          "verdict": summary_of(rows, section.erased)})  # fmt: skip
