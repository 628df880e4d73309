"""From findings to words: the rules of a status, what is said of it, and what a reader must be warned of.

Everything here is a function of numbers that are in the report, so that anybody can check a verdict by hand.
"""

import math
from collections.abc import Sequence

from erasable._plumbing.numbers import span, told
from erasable.evidence import Finding, once_in
from erasable.receipt import Level
from erasable.report import Row, Status, Suite

REMEMBERS = {
    "forget accuracy": 1, "confidence attack": -1, "membership AUROC": 1, "calibrated confidence": 1,
    "relearning": -1,
    "per-sample attack AUC": 1, "per-sample attack TPR at 1 % FPR": 1, "most exposed 5 %": 1,
}  # fmt: skip
"""On which side of the oracles a model lies that still knows the samples; distances have no side."""

LIMITS = (
    "Outputs cannot prove that a model forgot. 'Erased within what this audit can see' means that these attacks and "
    "distances see no more difference than between models that never had the samples; a stronger attack may see more.",
    "A guarantee and an audit are two things. 'Exact' rests on which data each part was fitted on, not on these "
    "numbers; 'revoked' promises nothing about what a network remembers, and these numbers are all there is.",
    "Each model is compared with models of its own method. That a method's models resemble each other says nothing "
    "about how good they are: look at the accuracy that was kept.",
    "There is one model per row. Another training run of the same method would give other numbers, within about the "
    "noise bands.",
    "The average gap is shown because papers rank by it; it often prefers a model that forgot nothing.",
    "Times were measured once, on this machine, and hold for no other.",
)


ONE_THRESHOLD = (
    "The attacks here use one threshold for all samples, the weakest kind, and average over the erased samples: a "
    "single unusual sample that is still remembered can hide in them. The suite 'standard' attacks each by itself."
)
OWN_THRESHOLD = (
    "Each erased sample is attacked by itself with the oracles as reference models. An attacker who also has models "
    "that unlearned other samples (U-LiRA) sees more; only the suite 'full' plays that game."
)


def limits_of(suite: Suite) -> tuple[str, ...]:
    """What a report of this suite cannot show, in words."""
    own = {"quick": (ONE_THRESHOLD,), "standard": (OWN_THRESHOLD,), "full": ()}
    return (LIMITS[0], *own[suite], *LIMITS[1:])


def status_of(judged: Sequence[Finding], before: Sequence[Finding], kept: Sequence[Finding] = ()) -> Status:
    """The rules, in this order. `kept` are the accuracies on test and retained samples.

    stands out   worse than its oracles on test and on retained samples, and knows no more of the erased
                 ones: a broken or unrelated model is unsure of everything, so no other number has a side
    remembered   a number with a side (REMEMBERS) is outside the joint noise band, on the side of knowing the samples
    stands out   any other number is outside: too little known, or different in a way that has no side
    cannot tell  all are inside, and all were inside before the erasure too: these numbers do not see the samples
    no trace     all are inside
    """
    outside = [each for each in judged if not each.inside_noise]
    broken = bool(kept) and all(each.inside_noise is False for each in kept)
    if broken and not any(each.metric == "forget accuracy" and _remembers(each) for each in outside):
        return "stands out"
    if any(_remembers(each) for each in outside):
        return "remembered"
    if outside:
        return "stands out"
    return "cannot tell" if before and all(each.inside_noise for each in before) else "no trace"


def _remembers(finding: Finding) -> bool:
    side = REMEMBERS.get(finding.metric, 0)
    return bool(side) and finding.null_mean is not None and side * (finding.value - finding.null_mean) > 0


def reach(finding: Finding) -> float | None:
    """The smallest difference from the oracles' mean that leaves the noise band, on the side of knowing the samples."""
    if finding.null_band is None or finding.null_mean is None:
        return None
    low, high = finding.null_band
    side = REMEMBERS.get(finding.metric, 0)
    above, below = high - finding.null_mean, finding.null_mean - low
    if side or finding.direction != "match":
        return below if side < 0 or finding.direction == "higher" else above
    return max(above, below)


def power_of(judged: Sequence[Finding], before: Sequence[Finding]) -> str:
    """How small a leak the numbers of a row could have shown, beside how far off the model was before the erasure."""
    parts = []
    earlier = {each.metric: each for each in before}
    for each in judged:
        least = reach(each)
        if least is None or each.metric not in REMEMBERS or each.unit == "steps":
            continue
        text = f"{each.metric} {told(least, each.unit)}"
        if (was := earlier.get(each.metric)) is not None and was.null_mean is not None:
            text += f" (before the erasure {told(abs(was.value - was.null_mean), was.unit)})"
        parts.append(text)
    return f"The smallest distance from the oracles that would have been noticed: {'; '.join(parts)}." if parts else ""


def budget_of(judged: Sequence[Finding], before: Sequence[Finding]) -> int | None:
    """How many models, erased alike and judged by their mean, would make the difference from before show; None if
    there was none.

    The noise of a mean over m models is smaller by the root of m, so m is the square of (smallest visible difference /
    difference before the erasure), for the number that sees most.
    """
    earlier = {each.metric: each for each in before}
    needed = []
    for each in judged:
        was, least = earlier.get(each.metric), reach(each)
        if was is None or was.null_mean is None or not least or each.unit == "steps":
            continue
        apart = was.value - was.null_mean
        side = REMEMBERS.get(each.metric, 0)
        apart = side * apart if side else abs(apart)
        if apart > 0:
            needed.append((least / apart) ** 2)
    return max(2, math.ceil(min(needed) - 1e-9)) if needed else None


def evidence_in_words(finding: Finding) -> str:
    """A number outside its band, and the band."""
    low, high = finding.null_band or (finding.value, finding.value)
    name = {"KL": "KL divergence", "relearning": "relearned after"}.get(finding.metric, finding.metric)
    unit = finding.unit if finding.unit in ("nats", "steps") else ""
    if finding.unit == "steps" and round(finding.value) == 1:
        unit = "step"
    value = " ".join(each for each in (name, told(finding.value, finding.unit), unit) if each)
    if finding.direction == "lower":
        return f"{value} (between oracles up to {told(high, finding.unit)})"
    return f"{value} (oracles {span(low, high, finding.unit)})"


def verdict_of(
    status: Status,
    judged: Sequence[Finding],
    test: Finding | None,
    level: Level | None,
    oracles: int,
    before: Sequence[Finding] = (),
) -> str:
    """What the status of one row means. `test` is the accuracy that was kept; None where that is not the question."""
    outside = sorted((each for each in judged if not each.inside_noise), key=_remembers, reverse=True)
    numbers = "; ".join(evidence_in_words(each) for each in outside[:3])
    numbers = numbers or "it knows less of test and of retained samples than they do"  # nothing else makes it stand out
    parts = {
        "no trace": f"Erased within what this audit can see: indistinguishable from {oracles} models that never "
                    "saw the samples.",
        "cannot tell": "Not decidable with this budget: inside the noise of the oracles, but so it was before the "
                       "erasure. These numbers do not see these samples, and say nothing about forgetting.",
        "remembered": f"Leaks: {numbers}.",
        "stands out": f"Differs from models that never saw the samples: {numbers}.",
    }  # fmt: skip
    text = parts[status]
    if status == "cannot tell":
        models = budget_of(judged, before)
        text += (f" About {models} models erased alike, judged together, would decide." if models else
                 " Nothing showed before the erasure: with these tests no number of models decides.")  # fmt: skip
    if outside and level == "revoked":
        still = ", still remembered by the network" if status == "remembered" else ""
        text = f"Erased from memory{still}. {text}"
    if outside and level == "exact":
        text += (f" The guarantee is exact, so this is chance (about once in {once_in(oracles)}) or a defect: try "
                 "other seeds.")  # fmt: skip
    if test is not None and test.inside_noise is False:
        text += f" It costs accuracy: {evidence_in_words(test)}."
    return text


def summary_of(rows: Sequence[Row], erased: int) -> str:
    """One or two sentences for the top of the page."""

    def named(status: Status, *, revoked: bool | None = None) -> list[str]:
        return [each.name for each in rows if each.status == status and each.role == "method"
                and (revoked is None or (each.level == "revoked") is revoked)]  # fmt: skip

    phrases = []
    if names := named("no trace"):
        phrases.append(f"erased within what this audit can see: {_listed(names)}")
    if names := named("remembered", revoked=False):
        phrases.append(f"still remembered after {_listed(names)}")
    if names := named("remembered", revoked=True):
        phrases.append(f"erased from memory but still remembered by the network with {_listed(names)}")
    if names := named("stands out"):
        phrases.append(f"different from models that never saw the samples after {_listed(names)}")
    if names := named("cannot tell"):
        phrases.append(f"with {_listed(names)} the audit cannot tell, for nothing showed before the erasure either")
    text = "; ".join(phrases)
    return f"{text[:1].upper()}{text[1:]}." if text else f"{erased} samples: only baselines were judged."


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def filter_cautions(filtered: Sequence[tuple[str, int]], erased: int, *, apart: bool) -> tuple[str, ...]:
    """`filtered`: names, and how many of the erased samples a filter left alone there. `apart`: are they judged so?"""
    judged = ("They, and the others, are judged by themselves in rows of their own." if apart else
              "They are judged together with the others only, among which they can hide.")  # fmt: skip
    return tuple(f"{name} left {left} of {erased} erased samples alone: the model was trained on them, and the method "
                 f"that unlearned the others never saw them. {judged}" for name, left in filtered)  # fmt: skip


def cautions_of(rows: Sequence[Row], *, peers: bool) -> tuple[str, ...]:
    """What would make a reader trust the verdict less, found in the results themselves.

    `peers`: were there test samples of the erased samples' classes?
    """
    found = []
    for row in rows:
        if row.role == "untouched" and row.status in ("cannot tell", "no trace"):
            found.append("Doing nothing is inside the noise as well: on these samples the audit cannot tell a model "
                         "that was trained on them from one that was not, so it shows no forgetting.")  # fmt: skip
        if row.role == "retrain" and row.status in ("remembered", "stands out"):
            found.append("The retrained model itself is outside the noise band. That happens about once in "
                         f"{once_in(row.oracles)} requests; read the other rows with that in mind.")  # fmt: skip
    if any(row.before == () for row in rows):
        found.append("For some rows nothing is known from before the erasure, so nobody can say whether the audit "
                     "would have seen the samples there, and relearning was not measured.")  # fmt: skip
    if not peers:
        found.append("The test data hold none of the erased samples' classes: membership AUROC was not measured.")
    return tuple(dict.fromkeys(found))
