"""A report with every part that there is, of simulated attacks: numbers that belong together, drawn from a seed."""

import base64
from functools import cache

import torch

from erasable._plumbing.png import png
from erasable.attacks._rates import auc, roc, tpr_at
from erasable.evidence import Finding, Scores, joint
from erasable.report import (
    Control,
    Exposed,
    Histogram,
    Leakage,
    Relearning,
    Report,
    Roc,
    Row,
    Section,
    Stratum,
)

ATTACKS = {"per-sample attack": 1.0, "LiRA offline": 0.7, "RMIA": 0.55, "threshold": 0.2}
ORACLES, SAMPLES = 16, 400


def draws(seed):
    return torch.Generator().manual_seed(seed)


def picture(seed):
    return base64.b64encode(png(torch.rand(1, 8, 8, generator=draws(seed)))).decode()


def scores(attack, shift, seed):
    """One model in the first row, and oracles that never saw the samples below it."""
    values = torch.randn(ORACLES + 1, SAMPLES, generator=draws(seed), dtype=torch.float64)
    values[0] += shift * (0.5 + torch.rand(SAMPLES, generator=draws(seed + 1), dtype=torch.float64))
    truth = torch.zeros(values.shape, dtype=torch.bool)
    truth[0] = True
    return Scores(attack, tuple(f"digits/{i}" for i in range(SAMPLES)), values, truth, torch.ones_like(truth))


def beside(metric, value, mean, spread, seed, *, unit="%", direction="match"):
    null = mean + spread * torch.randn(ORACLES, generator=draws(seed), dtype=torch.float64)
    null = null.clamp(0, 100).tolist()
    return Finding(metric=metric, subject="model", value=value, unit=unit, n=SAMPLES, models=1, direction=direction,
                   interval=(max(0.0, value - spread), min(100.0, value + spread))).beside(null)  # fmt: skip


@cache
def judged(leak, seed=0):
    """`leak` from 0, as if never seen, to 1, untouched."""
    found = [
        beside("forget accuracy", 91.0 + 9 * leak, 91.0, 1.5, seed + 1),
        beside("disagreement", 4.0 + 5 * leak, 4.0, 0.8, seed + 2, direction="lower"),
        beside("KL", 0.05 + 0.4 * leak, 0.05, 0.02, seed + 3, unit="nats", direction="lower"),
        beside("confidence attack", 12.0 - 11 * leak, 12.0, 2.0, seed + 4),
        beside("membership AUROC", 50 + 14 * leak, 50, 2.0, seed + 5),
        beside("relearning", round(40 - 40 * leak), 40, 4.0, seed + 6, unit="steps"),
    ]
    for at, (attack, strength) in enumerate(ATTACKS.items()):
        each = scores(attack, 2 * strength * leak, seed + 10 * at)
        for finding, mean in ((auc(each, subject="model"), 50.0), (tpr_at(each, 0.01, subject="model"), 1.0),
                              (tpr_at(each, 0.001, subject="model"), 0.1)):  # fmt: skip
            null = mean + mean / 25 * torch.randn(ORACLES, generator=draws(seed + at), dtype=torch.float64)
            found.append(finding.beside(null.tolist()))
    return joint(found)


@cache
def curves(leak, seed=0):
    made = []
    for at, (attack, strength) in enumerate(ATTACKS.items()):
        curve = roc(scores(attack, 2 * strength * leak, seed + 10 * at))
        keep = torch.linspace(0, len(curve.fpr) - 1, 500).round().long().unique()
        fpr, tpr, low, high = (tuple(each[keep].clamp(0, 1).tolist()) for each in curve)
        made.append(Roc(attack=attack, fpr=fpr, tpr=tpr, low=low, high=high))
    return tuple(made)


@cache
def leakage(leak, *, pictures=True, worst=5, seed=0):
    held = scores("per-sample attack", 2 * leak, seed)
    after, known = (torch.histc(each.clamp(-4, 6), 20, -4, 6) for each in (held.values[0], held.values[1:]))
    top = held.values[0].argsort(descending=True)[:worst].tolist()
    return Leakage(
        attack="per-sample attack", edges=tuple(torch.linspace(-4, 6, 21).tolist()),
        after=tuple((after / after.sum()).tolist()), oracles=tuple((known / known.sum()).tolist()),
        worst=tuple(Exposed(id=held.ids[at], owner=f"owner-{at % 7}", score=float(held.values[0, at]),
                            picture=picture(at) if pictures else None) for at in top),
    )  # fmt: skip


@cache
def relearning(leak, learns_from="the erased samples"):
    steps = (0, 1, 2, 3, 5, 8, 12, 20, 30, 50, 75, 100)
    grow = 1 - torch.exp(-torch.tensor(steps, dtype=torch.float64) / 15)
    mean = 20 + 78 * grow
    return Relearning(
        learns_from=learns_from, steps=steps,
        after=tuple((mean + leak * (97 - mean) * 0.8).tolist()), oracle_mean=tuple(mean.tolist()),
        oracle_low=tuple((mean - 4).tolist()), oracle_high=tuple((mean + 2).tolist()),
        untouched=tuple((99 + 0 * mean).tolist()), random=tuple((10 + 75 * grow * grow).tolist()),
    )  # fmt: skip


@cache
def strata(leak):
    return tuple(
        Stratum(name=name, samples=n, findings=(
            beside("forget accuracy", 100 - (100 - mean) * (1 - leak), mean, 3.0, n),
            beside("per-sample attack AUC", 50 + 35 * leak * weight, 50.0, 3.0, n + 1),
        ))
        for name, n, mean, weight in (("low memorisation", 300, 97.0, 0.2), ("medium memorisation", 70, 80.0, 0.6),
                                      ("high memorisation", 30, 30.0, 1.0))
    )  # fmt: skip


def row(name="SPM", leak=0.6, *, role="method", parts=True, seconds=0.004, **more):
    status = "remembered" if leak > 0.2 else "no trace"
    shown = [beside("test accuracy", 94.5, 95.0, 0.4, 7, direction="higher"),
             Finding(metric="time", subject=name, value=seconds, unit="s", n=1, models=1),
             Finding(metric="preparation", subject=name, value=31.0, unit="s", n=1, models=1)]  # fmt: skip
    given = {
        "roc": curves(leak), "leakage": leakage(leak), "strata": strata(leak),
        "relearning": (relearning(leak), relearning(leak / 2, "50 kept samples")),
        "power": "The smallest distance from the oracles that would have been noticed: forget accuracy 3.9 % (before "
                 "the erasure 9.0 %); per-sample attack AUC 4.1 % (before the erasure 32.0 %).",
    } if parts else {}  # fmt: skip
    if parts:
        shown += [
            Finding(metric="storage", subject=name, value=1_530_000, unit="bytes", n=1, models=1),
            Finding(metric="access", subject=name, value=400, unit="samples", n=1, models=1, note="forget 400"),
        ]
    odds = torch.linspace(-14, 14, 21).tolist()
    shape = torch.distributions.Normal(4.0 + 4 * leak, 3.0).log_prob(torch.tensor(odds[:-1])).exp()
    known = torch.distributions.Normal(4.0, 3.5).log_prob(torch.tensor(odds[:-1])).exp()
    after, oracles = (tuple((each / each.sum()).tolist()) for each in (shape, known))
    return Row(
        name=name, role=role, level="revoked", why="the encoder was fitted on 400 of 400 erased samples",
        status=status, verdict="Leaks: per-sample attack AUC 71.2 % (oracles 47.0 to 53.0 %)." if leak > 0.2 else
        f"Indistinguishable from {ORACLES} models that never saw the samples, within what this audit can see.",
        oracles=ORACLES, oracle_seeds=tuple(range(ORACLES)), shown=tuple(shown),
        before=tuple(each.model_copy(update={"null_values": ()}) for each in judged(1.0)),
        histogram=Histogram(edges=tuple(odds), after=after, oracles=oracles, fresh=oracles), note="", receipt=None,
        **{"judged": judged(leak), **given, **more},
    )  # fmt: skip


CONTROLS = (
    Control(name="fresh oracles", attack="per-sample attack AUC", should_ring=False, rang=2, draws=50, passed=True),
    Control(name="untouched model", attack="per-sample attack AUC", should_ring=True, rang=50, draws=50, passed=True),
    Control(name="only labels permuted", attack="forget accuracy", should_ring=True, rang=12, draws=50, passed=False,
            note="needs at least 300 erased samples"),
)  # fmt: skip


def section(title="One owner", rows=None, *, controls=CONTROLS, **more):
    rows = rows or (row("do nothing", 1.0, role="untouched", seconds=0.0), row("retrain", 0.0, role="retrain"), row(),
                    row("SPM (public encoder)", 0.02))  # fmt: skip
    return Section(
        title=title, case="case 7", verdict="Still remembered after SPM; no trace found after SPM (public encoder).",
        cautions=(), erased=SAMPLES, retained=3600, classes_gone=(), rows=tuple(rows), samples=(), samples_order="",
        data="digits", digests={"training data": "ab" * 32}, seed=0, seconds=70.5, controls=controls, **more,
    )  # fmt: skip


def report(*sections, **more):
    settings = {"show_samples": True, "suite": "standard", **more}
    return Report(
        title="What is left after forgetting", created="2026-01-02T03:04:05+00:00", sections=sections or (section(),),
        command="erasable audit runs/digits --suite standard --oracles 16 --seed 0 --request owner:7 --show-samples",
        limits=("Outputs cannot prove that a model forgot.", "Times were measured once, on this machine."),
        versions={"torch": "2"}, platform="Linux", erasable_version="0.1.0", **settings,
    )  # fmt: skip
