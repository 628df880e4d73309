"""Can the erased samples be told from samples that nobody ever trained on? AUROC of the true-class confidence, in %.

50 is the ideal: erased samples look like new ones. Above 50 the model is surer of them (it remembers), below 50 less
sure (it stands out as having been made to forget). The oracles' values stand beside it, since a person's samples can
be easier or harder than the average. Both groups should have the same mix of classes. One threshold for all samples is
the weakest kind of attack: a value near 50 is no proof.

The interval is E. R. DeLong et al., *Comparing the areas under two or more correlated ROC curves*, Biometrics 44
(1988); where it has no width (full separation) the exact binomial bound of the smaller group stands in.
"""

import math

import torch
from torch import Tensor

from erasable.errors import Misaligned
from erasable.evidence import Evidence, Finding, aligned, binomial_interval


def membership(
    erased: Evidence, fresh: Evidence, *, subject: str, oracles: tuple[Evidence, Evidence] | None = None
) -> Finding:
    """From the signal `confidence` on erased and on fresh samples; `oracles` gives the same pair. Raises Misaligned."""
    values = auroc(erased, fresh)
    value = sum(values) / len(values)
    n = min(len(erased.ids), len(fresh.ids))
    interval = _delong(erased.values[0], fresh.values[0]) if erased.models == 1 else None
    finding = Finding(metric="membership AUROC", subject=subject, value=value, unit="%", interval=interval, n=n,
                      models=erased.models, direction="match", resolution=100 / n)  # fmt: skip
    if oracles is None:
        return finding
    aligned(erased, oracles[0])
    aligned(fresh, oracles[1])
    return finding.beside(auroc(*oracles))


def auroc(erased: Evidence, fresh: Evidence) -> list[float]:
    """One value per model, in per cent: the share of pairs in which the erased sample scores higher, ties by half."""
    if erased.models != fresh.models or erased.signal != fresh.signal:
        raise Misaligned(f"{erased.models} models of '{erased.signal}' and {fresh.models} of '{fresh.signal}'",
                         expected="the same models and signal on both groups", do="collect both together")  # fmt: skip
    ordered, asked = fresh.values.sort(dim=1).values, erased.values.contiguous()
    below, upto = (torch.searchsorted(ordered, asked, right=right) for right in (False, True))
    return (100 * (below + upto).double().mean(dim=1) / (2 * len(fresh.ids))).tolist()


def _delong(erased: Tensor, fresh: Tensor) -> tuple[float, float]:
    """95 % interval in per cent, from the variance of the placements: the share of the other group that each beats."""
    beats = (erased[:, None] > fresh).double() + 0.5 * (erased[:, None] == fresh).double()  # (erased, fresh)
    area, smaller = float(beats.mean()), min(beats.shape)
    parts = [float(beats.mean(dim=axis).var()) / beats.shape[1 - axis] for axis in (0, 1) if beats.shape[1 - axis] > 1]
    reach = 1.96 * math.sqrt(sum(parts))
    if not reach:
        low, high = binomial_interval(area * smaller, smaller)
        return 100 * low, 100 * high
    return 100 * max(0.0, area - reach), 100 * min(1.0, area + reach)
