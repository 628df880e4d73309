"""Does the test itself work? How often an audit rings where it must be silent, and where it must ring.

    null   a fresh model that never saw the samples, judged against others that never saw them
    alarm  a model that was trained on the samples and left untouched

Both are rates over draws: each draw takes another random request and other seeds. An audit whose alarm stays silent
says nothing when it is silent about your model; one that rings at fresh oracles says nothing when it rings.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from erasable._plumbing.seeds import child
from erasable.audit import Subject, judge
from erasable.dataset import Dataset
from erasable.errors import SettingsError
from erasable.evidence import binomial_interval, once_in
from erasable.population import Population
from erasable.probe import Probe
from erasable.report import Control, Row, Suite
from erasable.request import Request
from erasable.train import Progress
from erasable.unlearner import Method

ALARM = 0.95  # the share of draws in which the alarm must ring
TOGETHER = "all together"


def controls(
    method: Method,
    data: Dataset,
    test: Dataset,
    task: Any,
    *,
    erased: int,
    draws: int = 50,
    oracles: int = 19,
    suite: Suite = "standard",
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[Control, ...]:
    """Two controls per judged number, and two for the status, which rests on all of them together.

    erased  samples per random request, of those that are not public
    null    passes unless the alarm rate is significantly above the rate that the joint bands promise
    alarm   passes if "remembered" is the status in at least 95 % of draws; single numbers are shown, not judged

    Trains draws x (oracles + 2) models. Raises SettingsError for fewer than one draw, and what `judge` raises.
    """
    if draws < 1:
        raise SettingsError(f"draws={draws}", expected="at least 1", do="ask for more; 50 give a rate")
    null, alarm = [], []
    for draw in range(draws):
        a, b = one_draw(method, data, test, task, erased=erased, oracles=oracles, suite=suite, seed=child(seed, draw))
        null.append(a)
        alarm.append(b)
        if progress is not None:
            progress(draw + 1, draws)
    return (*_rates(null, "a fresh oracle", should_ring=False, level=1 / once_in(oracles)),
            *_rates(alarm, "the untouched model", should_ring=True, level=ALARM))  # fmt: skip


def one_draw(
    method: Method, data: Dataset, test: Dataset, task: Any, *, erased: int, oracles: int, suite: Suite, seed: int
) -> tuple[Row, Row]:
    """The rows of a fresh oracle and of an untouched model for one random request."""
    ids = np.asarray(data.private.ids if len(data.public) else data.ids)
    if not 0 < erased < len(ids):
        raise SettingsError(f"{erased} samples to erase of {len(ids)}", expected="some, not all", do="ask for fewer")
    pick = np.random.default_rng(child(seed, "request"))
    request = Request(f"control {seed}", tuple(pick.choice(ids, erased, replace=False).tolist()))
    seeds = [child(seed, "oracle", i) for i in range(oracles + 1)]
    known = method.train(data.without(request.ids), task, seeds=seeds)
    reference = Population(tuple(known[1:]), tuple(seeds[1:]), "oracle")
    untouched = method.train(data, task, seeds=[child(seed, "untouched")])[0]
    probe = Probe.of(request, data, test, task, seed=seed)
    subjects = [Subject(name="null", model=known[0], oracles=reference, role="retrain"),
                Subject(name="alarm", model=untouched, oracles=reference, role="untouched")]  # fmt: skip
    null, alarm = judge(subjects, probe, title="controls", suite=suite, seed=seed, samples=0).rows
    return null, alarm


def _rates(rows: Sequence[Row], name: str, *, should_ring: bool, level: float) -> tuple[Control, ...]:
    rang: Counter[str] = Counter()
    for row in rows:
        outside = [each.metric for each in row.judged if each.inside_noise is False]
        rang.update(outside)
        rang[TOGETHER] += row.status == "remembered" if should_ring else bool(outside)
    metrics = [TOGETHER, *dict.fromkeys(each.metric for row in rows for each in row.judged)]
    made = []
    for metric in metrics:
        low, high = binomial_interval(rang[metric], len(rows))
        judged = metric == TOGETHER or not should_ring
        good = (rang[metric] >= level * len(rows) if should_ring else low <= level) if judged else True
        note = f"rate {100 * rang[metric] / len(rows):.0f} %, 95 % interval {100 * low:.0f} to {100 * high:.0f} %"
        made.append(Control(name=name, attack=metric, should_ring=should_ring, rang=rang[metric], draws=len(rows),
                            passed=good, note=note if judged else f"{note}; shown, not judged"))  # fmt: skip
    return tuple(made)
