"""One threshold for everybody: a model is surer of what it was trained on. The signal itself is the score.

The oldest and weakest membership attack: it takes easy samples for members and misses hard ones, so a value near 50 is
no proof of anything. It stands beside the others as the floor that they must beat. What is compared are masks:

    members against others    threshold(evidence)
    erased against never seen threshold(evidence, truth=forgotten, counted=forgotten | ~evidence.member)

S. Yeom, I. Giacomelli, M. Fredrikson, S. Jha, *Privacy Risk in Machine Learning* (CSF 2018, arXiv 1709.01604), whose
threshold on the loss is the mean training loss; here every threshold is tried (the AUC), or the best on known pairs.
"""

import torch
from torch import Tensor

from erasable.attacks._pairs import pairs, rising, scored
from erasable.errors import EvidenceError
from erasable.evidence import Evidence, Scores


def threshold(
    evidence: Evidence, *, truth: Tensor | None = None, counted: Tensor | None = None, falls: bool | None = None
) -> Scores:
    """The signal as a score; negated where it `falls` on members.

    truth    (models, samples) or (samples,) bool: what counts as in; `evidence.member` when None
    counted  likewise: which pairs are asked; all when None
    falls    None: the signal's name tells: loss, entropy, modified entropy and perplexity fall, all others rise

    Scores have no natural zero: give `rates` the `cut` of known pairs as its threshold. Raises Misaligned.
    """
    values = rising(evidence, falls)
    return scored("threshold", evidence, values, pairs(evidence, truth, default=evidence.member),
                  pairs(evidence, counted, default=torch.ones_like(evidence.member)))  # fmt: skip


def cut(known: Scores) -> float:
    """The score that tells the known pairs apart best (balanced accuracy), halfway between two of them or under all.

    Of equally good ones the lowest. To judge it, use other pairs than these. Raises EvidenceError where one kind of
    pair is missing.
    """
    inside, outside = (known.values[known.counted & (known.truth == side)].sort().values for side in (True, False))
    if not len(inside) or not len(outside):
        raise EvidenceError(f"{len(inside)} known pairs that are in and {len(outside)} that are out",
                            expected="some of both", do="fit the threshold on members and others")  # fmt: skip
    at = torch.unique(torch.cat([inside, outside]))
    between = torch.cat([at[:1] - 1, (at[1:] + at[:-1]) / 2])  # the first calls everything in
    caught = 1 - torch.searchsorted(inside, between).double() / len(inside)
    spared = torch.searchsorted(outside, between).double() / len(outside)
    return float(between[(caught + spared).argmax()])
