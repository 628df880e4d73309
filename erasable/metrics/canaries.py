"""How often is a canary (a sample with a wrong label) answered with *its* wrong label, in per cent?

The truth is known: nothing in the sample says the wrong label, so a model that never saw the canary gives it only as
often as it errs that way by chance. The oracles' values are that chance; more is memory. The interval is exact binomial
at the mean rate over models.

Canaries are due to N. Carlini et al., *The secret sharer* (USENIX Security 2019, arXiv 1802.08232).
"""

from collections.abc import Mapping

import torch

from erasable.errors import Misaligned
from erasable.evidence import Evidence, Finding, aligned, binomial_interval


def canaries(target: Evidence, wrong: Mapping[str, int], oracles: Evidence | None = None, *, subject: str) -> Finding:
    """From the signal `prediction` on canaries; `wrong` gives each one's wrong label by id. Raises Misaligned."""
    if lost := [each for each in target.ids if each not in wrong]:
        raise Misaligned(f"{len(lost)} of {len(target.ids)} samples have no wrong label, first '{lost[0]}'",
                         expected="canaries alone", do="collect the evidence on the canaries")  # fmt: skip
    answers = torch.tensor([wrong[each] for each in target.ids])
    shares = _shares(target, answers)
    value, n = sum(shares) / len(shares), len(target.ids)
    low, high = binomial_interval(value / 100 * n, n)
    finding = Finding(metric="canaries", subject=subject, value=value, unit="%", interval=(100 * low, 100 * high), n=n,
                      models=target.models, direction="lower", resolution=100 / n)  # fmt: skip
    if oracles is None:
        return finding
    aligned(target, oracles)
    return finding.beside(_shares(oracles, answers))


def _shares(seen: Evidence, wrong: torch.Tensor) -> list[float]:
    if seen.signal != "prediction":
        raise Misaligned(f"the signal '{seen.signal}'", expected="prediction", do="use `prediction_of`")
    return (100 * (seen.values == wrong.to(seen.values.device)).double().mean(dim=1)).tolist()
