"""How soon the erased samples are learned again, in optimiser steps; the oracles' value is the goal.

Fewer steps than the oracles: knowledge was hidden, not removed. More: the model resists, and stands out by it. Values
at the cap are censored: the real number is the cap or more. V. S. Chundawat et al., *Zero-shot machine unlearning*
(IEEE TIFS 2023, arXiv 2201.05629), who report the ratio to the oracle.
"""

from collections.abc import Sequence

from erasable.evidence import Finding


def relearning(steps: int, *, reached: bool, n: int, subject: str, oracles: Sequence[tuple[int, bool]] = ()) -> Finding:
    """`steps` on `n` samples; `oracles` gives (steps, reached) of each oracle."""
    censored = sum(not each for _, each in oracles)
    notes = [] if reached else ["stopped at the cap"]
    if censored:
        notes.append(f"{censored} of {len(oracles)} oracles stopped at the cap")
    finding = Finding(metric="relearning", subject=subject, value=steps, unit="steps", n=n, models=1, resolution=1,
                      direction="match", note="; ".join(notes))  # fmt: skip
    return finding.beside([each for each, _ in oracles])
