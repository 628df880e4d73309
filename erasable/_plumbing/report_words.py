"""What the page and the Markdown both say of the parts of a report, so that they cannot disagree."""

import math
from collections.abc import Sequence

from erasable._plumbing.numbers import NOTHING, duration, span, told
from erasable.evidence import Finding
from erasable.report import STATUSES, Control, Leakage, Relearning, Roc, Row

COSTS = ("time", "preparation", "tuning", "storage", "access")
RATES = ("AUC", "TPR at 1 % FPR", "TPR at 0.1 % FPR")  # the findings beside a curve, after the attack's name
MINUS = "\u2212"


def number(finding: Finding | None) -> str:
    """A value as a cell of a table shows it."""
    if finding is None:
        return NOTHING
    if finding.unit == "bytes":
        power = min(4, int(math.log(finding.value, 1000))) if finding.value >= 1000 else 0
        return f"{finding.value / 1000**power:.3g} {('bytes', 'kB', 'MB', 'GB', 'TB')[power]}"
    if finding.unit == "samples":
        return f"{finding.value:,.0f} sample{'' if finding.value == 1 else 's'}"
    return told(finding.value, finding.unit)


def kept(text: str) -> str:
    """A number and its sign of per cent stay on one line."""
    return text.replace(" %", "\u00a0%")


def beside_status(row: Row) -> str:
    """The verdict where the status stands beside it and need not be said again."""
    said = STATUSES[row.status].partition(":")[0] + ": "
    rest = row.verdict.removeprefix(said)
    return rest[:1].upper() + rest[1:]


def oracles(finding: Finding) -> str:
    """The band, in the direction that counts."""
    return "" if finding.null_band is None else span(*finding.null_band, finding.unit)


# --- the noise bands --------------------------------------------------------------------------------------------------


def apart(finding: Finding, value: float) -> float:
    """How far a value lies from the middle of the finding's band, in half-widths: beyond -1 and 1 it is outside.

    A band without width, which is one number that all oracles share, is counted in steps of the resolution.
    """
    low, high = finding.null_band or (finding.value, finding.value)
    middle, half = (low + high) / 2, (high - low) / 2
    if half <= 1e-12 * max(1.0, abs(middle)):
        half = finding.resolution
    distance = value - middle
    if not half:
        return math.copysign(math.inf, distance) if distance else 0.0
    return distance / half


def apart_in_words(finding: Finding) -> str:
    """Where the value lies by its band: "inside", or how many half-widths from the middle."""
    if finding.inside_noise is not False:
        return "inside"
    distance = apart(finding, finding.value)
    if math.isinf(distance):
        return "outside: all oracles have one value"
    size = f"{abs(distance):.1f}" if abs(distance) < 9.95 else f"{abs(distance):,.0f}"
    return f"outside, at {MINUS if distance < 0 else '+'}{size}"


# --- curves -----------------------------------------------------------------------------------------------------------


def found_at(curve: Roc, share: float) -> float:
    """The true-positive rate at the largest false-positive rate that is not above `share`."""
    return max((found for false, found in zip(curve.fpr, curve.tpr, strict=True) if false <= share + 1e-9), default=0.0)


def finest(curves: Sequence[Roc]) -> float:
    """The smallest false-positive rate above 0 that any of the curves shows."""
    return min((each for curve in curves for each in curve.fpr if each > 0), default=1.0)


def rate(share: float) -> str:
    """A share in per cent with two digits: "0.15 %", "12 %"."""
    return f"{float(f'{100 * share:.2g}'):g} %"


def resolution_in_words(curves: Sequence[Roc]) -> str:
    """What the samples can show at low rates."""
    smallest = finest(curves)
    if smallest <= 0.001:
        return ("Rates below 0.1 % are cut off; the smallest false-positive rate above zero in these curves is "
                f"{rate(smallest)}.")  # fmt: skip
    return (f"The smallest false-positive rate above zero in these curves is {rate(smallest)}; below it they show only "
            "what is found without any false alarm.")  # fmt: skip


def curve_in_words(curve: Roc, auc: Finding | None) -> str:
    area = "" if auc is None else f"AUC {number(auc)}, "
    found = ", ".join(f"{rate(found_at(curve, share))} found at {rate(share)} false alarms" for share in (0.01, 0.001))
    return f"{curve.attack}: {area}{found}"


def notes_of(row: Row) -> list[str]:
    """What must be known beside the rates; said once where all attacks share it."""
    notes: dict[str, list[str]] = {}
    for curve in row.roc:
        for name in RATES:
            finding = row.finding(f"{curve.attack} {name}")
            if finding is not None and finding.note:
                notes.setdefault(f"{name}: {finding.note}", []).append(curve.attack)
    return [
        note if len(attacks) == len(row.roc) else f"{', '.join(attacks)}, {note}" for note, attacks in notes.items()
    ]


# --- leakage per sample -----------------------------------------------------------------------------------------------


def exceeding(leakage: Leakage) -> tuple[float, float, float]:
    """The lowest bin edge that at most 5 % of the oracles' scores reach, and the shares above it: after, oracles."""
    for at, edge in enumerate(leakage.edges):
        known = math.fsum(leakage.oracles[at:])
        if known <= 0.05 + 1e-9:
            return edge, math.fsum(leakage.after[at:]), known
    raise AssertionError("nothing lies above the last edge")


def leakage_in_words(leakage: Leakage) -> str:
    edge, after, known = exceeding(leakage)
    return (f"{100 * after:.1f} % of the erased samples score {edge:.3g} or more; of the oracles' scores, "
            f"{100 * known:.1f} % do.")  # fmt: skip


# --- relearning -------------------------------------------------------------------------------------------------------


def moments(relearning: Relearning, most: int = 5) -> list[int]:
    """Positions of the steps that a table shows: the first, the last, and some between."""
    last = len(relearning.steps) - 1
    return sorted({round(i * last / (most - 1)) for i in range(most)}) if last > 0 else [0]


def curves_of(relearning: Relearning) -> list[tuple[str, tuple[float, ...]]]:
    """The lines of a relearning figure by name; those that were not measured are left out."""
    given = (("after the erasure", relearning.after), ("oracles, mean", relearning.oracle_mean),
             ("untouched", relearning.untouched), ("never trained", relearning.random))  # fmt: skip
    return [(name, values) for name, values in given if values is not None]


def relearning_in_words(relearning: Relearning) -> str:
    """The two ends of every curve."""
    steps = relearning.steps
    ends = "; ".join(
        f"{name} {told(values[0], '%')} to {told(values[-1], '%')}" for name, values in curves_of(relearning)
    )
    return f"Accuracy on the erased samples from step {steps[0]} to step {steps[-1]}: {ends}"


# --- controls and cost ------------------------------------------------------------------------------------------------


def expected(control: Control) -> str:
    return "to ring" if control.should_ring else "to stay silent"


def passed(control: Control) -> str:
    return "passed" if control.passed else "FAILED"


def failed(controls: Sequence[Control]) -> int:
    return sum(not each.passed for each in controls)


def controls_in_words(controls: Sequence[Control]) -> str:
    """How many controls failed, and what that means."""
    count = failed(controls)
    if not count:
        return "The only control passed." if len(controls) == 1 else f"All {len(controls)} controls passed."
    return (f"{count} of {len(controls)} control{'' if len(controls) == 1 else 's'} FAILED: what these attacks say "
            "here proves little.")  # fmt: skip


def costs_of(row: Row) -> list[tuple[str, str, str]]:
    """Name, value and note of every cost that was measured."""
    found = [finding for name in COSTS if (finding := row.finding(name)) is not None]
    return [(each.metric, duration(each.value) if each.unit == "s" else number(each), each.note) for each in found]


def cost_in_words(row: Row) -> str:
    return "; ".join(f"{name} {value}{f' ({note})' if note else ''}" for name, value, note in costs_of(row))
