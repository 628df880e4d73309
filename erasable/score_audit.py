"""Judge models that nobody here has, from what they said: a ScoreFile in, one Section of a Report out.

    scores  = ScoreFile.read("signals.parquet")
    section = judge_scores(scores, Request("case", ids))
    report  = compile_report([section], title=...)

Of each model is asked, with one threshold for all samples: is it surer of the samples to forget than the oracles are of
the same ones, and surer than of samples that nobody was trained on? The suite "standard" attacks each sample by itself
as well. Each oracle is held out in turn and asked the same, which gives the noise bands. Where the file has models on
both sides of the samples, besides the one that is judged, they play LiRA and RMIA, which are shown and not judged.

A score file allows no more: without the model nothing can be learned again, and without its answers nothing can be
compared but how sure it was.
"""

import math
import time
from collections.abc import Collection

import torch
from torch import Tensor

from erasable._plumbing.seeds import generator
from erasable.attacks._rates import auc, rates
from erasable.attacks.difficulty_calibration import difficulty_calibration
from erasable.attacks.lira import lira
from erasable.attacks.oracle_lira import findings as oracle_lira_findings
from erasable.attacks.oracle_lira import oracle_lira
from erasable.attacks.rmia import rmia
from erasable.errors import SettingsError
from erasable.evidence import Evidence, Finding, Scores, joint
from erasable.exhibits import leakage_of, roc_of
from erasable.metrics import membership
from erasable.receipt import digest_of_ids
from erasable.report import Histogram, Row, Section, Status, Stratum, Suite
from erasable.request import Request
from erasable.score_file import ScoreFile, Sides
from erasable.verdict import power_of, status_of, summary_of, verdict_of

ATTACK = "oracle threshold"
MOST = 2_000  # samples per side of a comparison whose cost grows with their product
EDGE = 14.0  # log-odds at which the histograms end, as in every report
FEWEST = 5  # samples of a group that is judged by itself
ENOUGH = 3  # oracles that the attack on each sample takes; and models on a side of a sample, for LiRA
LEAST = 1e-12  # of a confidence, which RMIA divides by
CAUTION = "Members, and that no oracle ever saw the samples, are the word of whoever wrote the file."
NO_FRESH = (
    "The file holds no samples that none of the models was trained on: membership AUROC and calibrated confidence were "
    "not measured."
)
TOO_FEW = "The per-sample attack was left out: {} oracles are too few for it, it takes 3."


def judge_scores(
    scores: ScoreFile,
    request: Request,
    *,
    signal: str | None = None,
    manifest: Collection[str] | None = None,
    title: str = "",
    suite: Suite = "quick",
    seed: int = 0,
) -> Section:
    """One row per model that was trained on the samples. `manifest`: ids of the training samples, to check against.

    Raises SettingsError for the suite "full", and what `ScoreFile.of`, `sides` and `refuse_copies` raise.
    """
    if suite == "full":
        raise SettingsError("the suite 'full' for a table of scores", expected="quick or standard: what is more takes "
                            "the model", do="choose standard, or audit the weights")  # fmt: skip
    start = time.perf_counter()
    evidence = scores.of(signal)
    sides = scores.sides(request.ids, manifest=manifest)
    scores.refuse_copies(evidence, sides)
    sure = surer(evidence)
    rows = [_row(scores, sure, sides, int(at), suite, seed) for at in sides.targets]
    kept = evidence.member[sides.targets[0]].clone()
    kept[sides.forget] = False
    return Section(
        title=title or f"{len(request.ids)} samples of {scores.name}",
        case=request.case,
        verdict=summary_of(rows, len(request.ids)),
        cautions=_cautions(scores, sides, suite, rows),
        erased=len(request.ids),
        retained=int(kept.sum()),
        classes_gone=(),
        rows=tuple(rows),
        samples=(),
        samples_order="",
        data=scores.name,
        digests={"erased ids": digest_of_ids(request.ids), "ids in the file": digest_of_ids(evidence.ids)},
        seed=seed,
        seconds=time.perf_counter() - start,
    )


def _cautions(scores: ScoreFile, sides: Sides, suite: Suite, rows: list[Row]) -> tuple[str, ...]:
    found = [CAUTION]
    if not len(sides.fresh):
        found.append(NO_FRESH)
    if suite != "quick" and len(sides.oracles) < ENOUGH:
        found.append(TOO_FEW.format(len(sides.oracles)))
    if count := len(sides.shadows):
        use = "they were left out; the suite 'standard' attacks with them"
        if suite != "quick":
            use = "they are shadow models, and LiRA attacked with them"
            if not any(each.finding("LiRA AUC") for each in rows):
                use = f"shadow models, but LiRA takes {ENOUGH} models on each side of a sample, and was left out"
        found.append(f"{count} models were trained on a part of the erased samples, first "
                     f"'{scores.models[int(sides.shadows[0])]}': {use}.")  # fmt: skip
    return tuple(found)


def surer(evidence: Evidence) -> Evidence:
    """Any signal of a score file as the log-odds of the right answer: the surer the model, the larger."""
    values = evidence.values.double()
    if evidence.signal == "confidence":
        values = torch.logit(values.clamp(1e-12, 1 - 1e-12))
    elif evidence.signal == "loss":
        losses = values.clamp(min=1e-12)
        values = -losses - torch.log(-torch.expm1(-losses))
    return Evidence("margin", evidence.ids, values, evidence.member)


def against_oracles(target: Tensor, oracles: Tensor, ids: tuple[str, ...]) -> Scores:
    """A model's log-odds (samples,) and those of models that never saw the samples (oracles, samples), as one attack.

    The threshold, which is moved to 0, is the median of what the oracles say.
    """
    values = torch.cat([target[None], oracles]) - oracles.median()
    truth = torch.zeros_like(values, dtype=torch.bool)
    truth[0] = True
    return Scores(ATTACK, ids, values, truth, torch.ones_like(truth))


def _row(scores: ScoreFile, sure: Evidence, sides: Sides, at: int, suite: Suite, seed: int) -> Row:
    name, ids = scores.models[at], tuple(sure.ids[i] for i in sides.forget.tolist())
    said, others = sure.values[at, sides.forget], sure.values[sides.oracles][:, sides.forget]
    found = _attacked(said, others, ids, name)
    judged = [each for each in found if "0.1 %" not in each.metric]
    shown = [each for each in found if "0.1 %" in each.metric]
    if len(sides.fresh):
        judged += [_membership(sure, sides, at, name, seed), _calibrated(sure, sides, at, name)]
    alone, helped = None, []
    if suite != "quick":
        if len(sides.oracles) >= ENOUGH:
            alone = oracle_lira(*(_part(sure, models, sides.forget) for models in (torch.tensor([at]), sides.oracles)))
            judged += oracle_lira_findings(alone, subject=name)
        helped = _shadowed(sure, sides, at)
        for attack in helped:
            shown += rates(attack, subject=name, threshold=0.5 if attack.attack == "RMIA online" else 0.0)
    bound = joint(judged)
    status = _status(bound)
    return Row(
        name=name,
        role="method",
        level=None,
        why="",
        status=status,
        verdict=verdict_of(status, bound, None, None, len(sides.oracles)),
        oracles=len(sides.oracles),
        oracle_seeds=(),
        judged=bound,
        shown=tuple(shown),
        before=(),
        histogram=_histogram(sure, sides, at),
        note="",
        receipt=None,
        roc=tuple(roc_of(each) for each in ([] if alone is None else [alone]) + helped),
        leakage=None if alone is None else leakage_of(alone, None),
        strata=_strata(scores, sides, said, others, ids, name),
        power=power_of(bound, ()),
    )


def _part(sure: Evidence, models: Tensor, samples: Tensor) -> Evidence:
    ids = tuple(sure.ids[i] for i in samples.tolist())
    return Evidence(sure.signal, ids, sure.values[models][:, samples], sure.member[models][:, samples])


def _shadowed(sure: Evidence, sides: Sides, at: int) -> list[Scores]:
    """LiRA and RMIA: is the model more like those that were trained on a sample than like those that were not?

    Fitted to all models of the file, each left out of what judges it; asked about the model and its oracles. Nothing
    where too few of them stand on one of the sides.
    """
    rest = [i for i in (*sides.shadows.tolist(), *sides.targets.tolist()) if i != at]
    models = torch.tensor([at, *sides.oracles.tolist(), *rest])
    asked = _part(sure, models, sides.forget)
    inside, outside = asked.member.sum(0), (~asked.member).sum(0)
    truth = torch.zeros(asked.member.shape, dtype=torch.bool)
    truth[0] = True
    counted = torch.zeros_like(truth)
    counted[: 1 + len(sides.oracles)] = True
    found = []
    if bool((inside >= ENOUGH).any()) and bool((outside >= ENOUGH).any()):
        found.append(lira(asked, truth=truth, counted=counted))
    if bool((inside >= 2).any()) and len(sides.fresh):
        others = torch.ones(len(sure.ids), dtype=torch.bool)
        others[sides.forget] = False
        population = _part(sure, models, torch.nonzero(others).flatten())
        found.append(rmia(_confidence(asked), _confidence(population), online=True, truth=truth, counted=counted))
    return found


def _confidence(sure: Evidence) -> Evidence:
    return Evidence("confidence", sure.ids, sure.values.sigmoid().clamp_min(LEAST), sure.member)


def _attacked(said: Tensor, others: Tensor, ids: tuple[str, ...], name: str) -> list[Finding]:
    """The attack's rates for the model, with those of each oracle against the other ones beside them."""
    found = rates(against_oracles(said, others, ids), subject=name)
    held_out = [rates(against_oracles(others[i], _but(others, i), ids), subject=name) for i in range(len(others))]
    return [each.beside([null[i].value for null in held_out]) for i, each in enumerate(found)]


def _but(oracles: Tensor, i: int) -> Tensor:
    return torch.cat([oracles[:i], oracles[i + 1 :]])


def _membership(sure: Evidence, sides: Sides, at: int, name: str, seed: int) -> Finding:
    """Samples to forget against samples that nobody was trained on, a seeded choice of at most MOST each."""
    draws = generator(seed, "score file")
    forget, fresh = (part[torch.randperm(len(part), generator=draws)[:MOST]] for part in (sides.forget, sides.fresh))

    this, oracles = torch.tensor([at]), sides.oracles
    return membership(_part(sure, this, forget), _part(sure, this, fresh), subject=name,
                      oracles=(_part(sure, oracles, forget), _part(sure, oracles, fresh)))  # fmt: skip


def _calibrated(sure: Evidence, sides: Sides, at: int, name: str) -> Finding:
    (erased, fresh), oracles = (
        tuple(_confidence(_part(sure, models, samples)) for samples in (sides.forget, sides.fresh))
        for models in (torch.tensor([at]), sides.oracles)
    )
    return difficulty_calibration(erased, fresh, oracles=(oracles[0], oracles[1]), subject=name)


def _status(judged: tuple[Finding, ...]) -> Status:
    """The rules of `verdict.status_of`; and a model that is surer than its oracles remembers."""
    knows = any(not each.inside_noise and each.null_mean is not None and each.value > each.null_mean for each in judged)
    return "remembered" if knows else status_of(judged, ())


def _strata(
    scores: ScoreFile, sides: Sides, said: Tensor, others: Tensor, ids: tuple[str, ...], name: str
) -> tuple[Stratum, ...]:
    """Each group of the samples to forget that has some by itself; bands hold over all groups together."""
    if scores.groups is None:
        return ()
    groups = [scores.groups[i] for i in sides.forget.tolist()]
    chosen = {
        each: torch.tensor([at for at, group in enumerate(groups) if group == each]) for each in sorted({*groups})
    }
    chosen = {group: at for group, at in chosen.items() if len(at) >= FEWEST}
    found = []
    for at in chosen.values():
        part = tuple(ids[i] for i in at.tolist())
        value = auc(against_oracles(said[at], others[:, at], part), subject=name)
        null = [auc(against_oracles(others[i, at], _but(others, i)[:, at], part), subject=name).value
                for i in range(len(others))]  # fmt: skip
        found.append(value.beside(null))
    return tuple(Stratum(name=group, samples=len(at), findings=(each,))
                 for (group, at), each in zip(chosen.items(), joint(found), strict=True))  # fmt: skip


def _histogram(sure: Evidence, sides: Sides, at: int) -> Histogram:
    bins = max(8, min(24, round(2 * math.sqrt(len(sides.forget)))))

    def count(values: Tensor) -> tuple[float, ...]:
        counts = torch.histc(values.flatten().clamp(-EDGE, EDGE), bins=bins, min=-EDGE, max=EDGE)
        return tuple((counts / counts.sum().clamp(min=1)).tolist())

    edges = torch.linspace(-EDGE, EDGE, bins + 1, dtype=torch.float64).tolist()
    oracles = sure.values[sides.oracles][:, sides.forget]
    return Histogram(edges=tuple(edges), after=count(sure.values[at, sides.forget]), oracles=count(oracles),
                     fresh=count(sure.values[at, sides.fresh]))  # fmt: skip
