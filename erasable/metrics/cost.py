"""What an erasure costs: the time of the call, of its preparation and of its tuning, bytes stored, and data accessed.

The time of the call alone flatters whatever did its work before: shards and memories are prepared, hyper-parameters are
tried out, both on somebody's machine. Each is a finding of its own, since seconds and bytes do not add up.
"""

from collections.abc import Mapping

from erasable.errors import EvidenceError
from erasable.evidence import Finding


def cost(seconds: float, *, subject: str, preparation: bool = False) -> Finding:
    """One measured time."""
    return _finding("preparation" if preparation else "time", seconds, "s", subject=subject)


def costs(
    *,
    subject: str,
    seconds: float | None = None,
    preparation_seconds: float | None = None,
    tuning_seconds: float | None = None,
    trials: int | None = None,
    stored: int | None = None,
    accessed: Mapping[str, int] | None = None,
) -> tuple[Finding, ...]:
    """One finding for each that is known, under "time", "preparation", "tuning", "storage" and "access".

    tuning_seconds  of choosing the settings, all `trials` together
    stored          bytes that are kept for later erasures beside the model's own weights
    accessed        data that the call read: name ("forget", "retain", "public") -> samples; an empty one reads nothing

    A cost that is not given was not measured, and is left out rather than called zero. Raises EvidenceError for a
    negative one, and for trials without their time.
    """
    if trials is not None and tuning_seconds is None:
        raise EvidenceError(f"{trials} trials without a time", expected="tuning_seconds", do="give both")
    found = []
    if seconds is not None:
        found.append(cost(seconds, subject=subject))
    if preparation_seconds is not None:
        found.append(cost(preparation_seconds, subject=subject, preparation=True))
    if tuning_seconds is not None:
        note = "" if trials is None else f"{trials} trials"
        found.append(_finding("tuning", tuning_seconds, "s", subject=subject, n=trials or 1, note=note))
    if stored is not None:
        found.append(_finding("storage", stored, "bytes", subject=subject))
    if accessed is not None:
        if wrong := {name: count for name, count in accessed.items() if count < 0}:
            raise EvidenceError(f"data accessed: {wrong}", expected="numbers of samples", do="count them again")
        read = ", ".join(f"{name} {count}" for name, count in sorted(accessed.items()) if count)
        found.append(_finding("access", sum(accessed.values()), "samples", subject=subject, note=read or "no data"))
    return tuple(found)


def _finding(metric: str, value: float, unit: str, *, subject: str, n: int = 1, note: str = "") -> Finding:
    if value < 0:
        raise EvidenceError(f"a {metric} of {value} {unit}", expected="0 or more", do="measure it again")
    return Finding(metric=metric, subject=subject, value=value, unit=unit, n=n, models=1, direction="lower", note=note)
