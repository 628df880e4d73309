"""The mean absolute difference to the oracles in accuracy on test, retained and erased samples and in membership AUROC.

The number that papers rank by, in percentage points, so it is shown; never rank by it. It adds up quantities of
different weight, hides their signs, and often prefers a model that forgot nothing to one that did. The oracles' own
gaps (each against the mean of the others) stand beside it.

C. Fan et al., *SalUn* (ICLR 2024, arXiv 2310.12508), with an AUROC in the place of their attack's accuracy.
"""

from collections.abc import Sequence

import torch

from erasable.errors import Misaligned
from erasable.evidence import Finding


def average_gap(findings: Sequence[Finding], *, subject: str) -> Finding:
    """From findings that have oracles beside them, two or more and the same in all. Raises Misaligned."""
    counts = {len(each.null_values) for each in findings}
    if len(counts) != 1 or counts == {0} or counts == {1}:
        raise Misaligned(f"findings with {sorted(counts)} oracles", expected="the same two or more oracles in all",
                         do="compute them from one population")  # fmt: skip
    null = torch.tensor([each.null_values for each in findings], dtype=torch.float64)  # (findings, oracles)
    values = torch.tensor([each.value for each in findings], dtype=torch.float64)
    gap = float((values - null.mean(dim=1)).abs().mean())
    others = (null.sum(dim=1, keepdim=True) - null) / (null.shape[1] - 1)  # the mean of the others
    gaps = (null - others).abs().mean(dim=0).tolist()
    return Finding(metric="average gap", subject=subject, value=gap, unit="points", models=findings[0].models,
                   n=min(each.n for each in findings), direction="lower").beside(gaps)  # fmt: skip
