"""The anamnesis index: how long a model takes to relearn what was erased, as a multiple of what the oracles take.

    index = rt_u / rt_r,    rt = optimiser steps until (1 - tolerance) of the accuracy before the erasure is back

with the oracles' mean for rt_r. 1 is the goal: below, knowledge was hidden and comes back early; above, the model
resists and stands out by it. The oracles' own ratios to their mean stand beside it: they are far from 1 by seed alone.
Steps come from a stress with a cap. A value at the cap is censored, the real one is the cap or more, and the note says
which side of the ratio that is: of the model, the index is a lower bound, of oracles, an upper one.

V. S. Chundawat et al., *Zero-shot machine unlearning* (IEEE TIFS 2023, arXiv 2201.05629). Differs: several oracles, and
censoring in the place of a stop after ten epochs.
"""

import math
from collections.abc import Sequence

import torch

from erasable.errors import EvidenceError, PopulationTooSmall
from erasable.evidence import Finding

Steps = tuple[int, bool]  # steps, and whether the goal was reached


def anamnesis(target: Sequence[Steps], oracles: Sequence[Steps], *, cap: int, n: int, subject: str) -> Finding:
    """One (steps, reached) per model and per oracle; `n` samples were relearned, in at most `cap` steps.

    Raises PopulationTooSmall for no model or fewer than two oracles, EvidenceError for steps beyond the cap and where
    all oracles know the samples from the start, for then there is no ratio.
    """
    if not target or len(oracles) < 2:
        raise PopulationTooSmall(f"{len(target)} models and {len(oracles)} oracles", expected="at least 1 and 2",
                                 do="relearn with more oracles: one hides seed noise")  # fmt: skip
    if wrong := [each for each in (*target, *oracles) if not 0 <= each[0] <= cap or (each[0] < cap and not each[1])]:
        raise EvidenceError(f"{wrong[0][0]} steps with reached={wrong[0][1]} and a cap of {cap}",
                            expected="steps up to the cap, and the goal reached before it",
                            do="give the cap that the steps were counted with")  # fmt: skip
    ours, theirs = (torch.tensor([each[0] for each in side], dtype=torch.float64) for side in (target, oracles))
    mean = float(theirs.mean())
    if not mean:
        raise EvidenceError("all oracles know the erased samples before the first step", expected="a time to compare",
                            do="report the accuracy on the erased samples instead")  # fmt: skip
    ratios = ours / mean
    value, interval = float(ratios.mean()), None
    if len(target) > 1:
        from scipy.special import stdtrit

        reach = float(stdtrit(len(target) - 1, 0.975)) * float(ratios.std()) / math.sqrt(len(target))
        interval = max(0.0, value - reach), value + reach
    return Finding(metric="anamnesis index", subject=subject, value=value, interval=interval, n=n, models=len(target),
                   direction="match", resolution=1 / mean,
                   note=_note(target, oracles, cap)).beside((theirs / mean).tolist())  # fmt: skip


def _note(target: Sequence[Steps], oracles: Sequence[Steps], cap: int) -> str:
    late, later = (sum(not reached for _, reached in side) for side in (target, oracles))
    told = [f"{late} of {len(target)} models and {later} of {len(oracles)} oracles stopped at the cap of {cap} steps"]
    bound = {(True, False): "at least this", (False, True): "at most this", (True, True): "unknown to both sides"}
    if late or later:
        told.append(f"the index is {bound[late > 0, later > 0]}")
    return ", so ".join(told)
