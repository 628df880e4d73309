"""How much surer is a model of the erased samples than models that never had them, in points of confidence?

    score(x) = confidence of the model at x - mean confidence of the oracles at x
    value    = 100 (mean score of the erased samples - mean score of fresh samples)

Subtracting the oracles' mean takes away how hard each sample is; subtracting the fresh samples' score takes away that
one training run is surer of everything than another. What is left is what the model knows of these samples in
particular. 0 is the ideal, above 0 the model remembers. Confidence, not its logarithm: then the samples count of which
oracles are unsure, and there it is that models learn by heart. For a random tenth of the digits, an untouched MLP lay
5.5 standard deviations of 16 oracles from their mean; with margins in place of confidence 2.5, with one threshold for
all samples 1.5.

Every oracle is judged by the others in the same way. The calibration is that of L. Watson, C. Guo, G. Cormode, A.
Sablayrolles, *On the Importance of Difficulty Calibration in Membership Inference Attacks* (ICLR 2022, arXiv
2111.08440), with oracles as reference models. Differs from it: the mean of the scores where they rank them, and the
fresh samples' mean is subtracted.
"""

import math

from torch import Tensor

from erasable.errors import Misaligned
from erasable.evidence import Evidence, Finding, aligned


def difficulty_calibration(
    erased: Evidence, fresh: Evidence, *, oracles: tuple[Evidence, Evidence], subject: str
) -> Finding:
    """From the signal `confidence` of one model on erased and on fresh samples, and of two or more oracles on both.

    The 95 % interval is over samples and normal; a group of one sample adds nothing to it. Raises Misaligned and
    PopulationTooSmall.
    """
    for mine, theirs in ((erased, oracles[0]), (fresh, oracles[1])):
        aligned(mine, theirs, at_least=2)
    if erased.models != 1 or fresh.models != 1 or oracles[0].models != oracles[1].models:
        raise Misaligned(f"{erased.models} and {fresh.models} models, {oracles[0].models} and {oracles[1].models} "
                         "oracles", expected="one model, and the same oracles on both groups",
                         do="collect both together")  # fmt: skip
    scores = [mine.values.double() - theirs.values.double().mean(0)
              for mine, theirs in ((erased, oracles[0]), (fresh, oracles[1]))]  # fmt: skip
    value = 100 * float(scores[0].mean() - scores[1].mean())
    reach = 196 * math.sqrt(sum(float(each.var()) / each.shape[1] if each.shape[1] > 1 else 0.0 for each in scores))
    nulls = _held_out(oracles[0].values) - _held_out(oracles[1].values)
    return Finding(metric="calibrated confidence", subject=subject, value=value, unit="points",
                   interval=(value - reach, value + reach), n=len(erased.ids), models=1,
                   direction="match", resolution=0.01).beside((100 * nulls).tolist())  # fmt: skip


def _held_out(values: Tensor) -> Tensor:
    """(oracles,) the mean score of each oracle by the others: the mean over samples commutes with that over models."""
    means = values.double().mean(1)
    return means - (means.sum() - means) / (len(means) - 1)
