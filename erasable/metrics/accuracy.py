"""The share of samples that are answered right, in per cent, with the oracles' accuracies beside it.

On the erased samples the oracles' value is the goal, not zero: a model that never saw a picture may well know what it
shows. The interval is exact binomial for one model, over models (mean +- t * sd / sqrt(k)) for several.
"""

import math

from erasable.evidence import Direction, Evidence, Finding, aligned, binomial_interval


def accuracy(
    target: Evidence, oracles: Evidence | None = None, *, subject: str, on: str, direction: Direction = "match"
) -> Finding:
    """From the signal `correct`. `on` names the samples. Raises Misaligned."""
    shares = 100 * target.values.mean(dim=1)
    value, n = float(shares.mean()), len(target.ids)
    if target.models == 1:
        low, high = binomial_interval(float(target.values.sum()), n)
        interval = 100 * low, 100 * high
    else:
        from scipy.special import stdtrit

        reach = float(stdtrit(target.models - 1, 0.975)) * float(shares.std()) / math.sqrt(target.models)
        interval = max(0.0, value - reach), min(100.0, value + reach)
    finding = Finding(metric=f"{on} accuracy", subject=subject, value=value, unit="%", interval=interval, n=n,
                      models=target.models, direction=direction, resolution=100 / n)  # fmt: skip
    if oracles is None:
        return finding
    aligned(target, oracles)
    return finding.beside((100 * oracles.values.mean(dim=1)).tolist())
