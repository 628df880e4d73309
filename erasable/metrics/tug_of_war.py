"""Tug of war: how near a model is to the oracles' accuracies on erased, retained and test samples, as one product.

    ToW     = (1 - |forget - forget_r|) * (1 - |retain - retain_r|) * (1 - |test - test_r|)
    ToW-MIA = (1 - |attack - attack_r|) * (1 - |retain - retain_r|) * (1 - |test - test_r|)

with accuracies and attack as shares, and the oracles' mean for the values with an r; 1 is best. Each oracle against the
mean of the others is the floor. Never rank by it: on the standard task (a random tenth of CIFAR-10, ResNet-18) doing
nothing scores 0.947 and 0.884, above published methods, so the note repeats it.

K. Zhao et al., *What makes unlearning hard and what to do about it* (NeurIPS 2024, arXiv 2406.01257). Differs: several
oracles in the place of one retrained model.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from erasable.errors import Misaligned, PopulationTooSmall
from erasable.evidence import Evidence, Finding, aligned

PARTS = ("forget", "retain", "test")
NOTHING = {"ToW": 0.947, "ToW-MIA": 0.884}  # what doing nothing scores on the standard task


def tug_of_war(target: Mapping[str, Evidence], oracles: Mapping[str, Evidence], *, subject: str) -> Finding:
    """From the signal `correct` on the parts "forget", "retain" and "test".

    Raises Misaligned, PopulationTooSmall for fewer than two oracles.
    """
    own, others = _shares(target, oracles, PARTS)
    return _finding("ToW", own, others, n=min(len(target[each].ids) for each in PARTS), subject=subject)


def tug_of_war_mia(
    target: Mapping[str, Evidence],
    oracles: Mapping[str, Evidence],
    *,
    attack: Sequence[float],
    oracles_attack: Sequence[float],
    subject: str,
) -> Finding:
    """The same with a membership attack's percentages, one per model, in the place of the accuracy on erased samples.

    The published attack is `attacks.svc_confidence.shares`. Raises what `tug_of_war` raises.
    """
    own, others = _shares(target, oracles, PARTS[1:])
    if len(attack) != own.shape[1] or len(oracles_attack) != others.shape[1]:
        raise Misaligned(f"{len(attack)} and {len(oracles_attack)} attack values for {own.shape[1]} models and "
                         f"{others.shape[1]} oracles", expected="one per model",
                         do="attack the models that the evidence is of")  # fmt: skip
    own, others = (torch.cat([torch.tensor(values, dtype=torch.float64)[None] / 100, shares])
                   for values, shares in ((attack, own), (oracles_attack, others)))  # fmt: skip
    return _finding("ToW-MIA", own, others, n=min(len(target[each].ids) for each in PARTS[1:]), subject=subject)


def _shares(
    target: Mapping[str, Evidence], oracles: Mapping[str, Evidence], parts: Sequence[str]
) -> tuple[Tensor, Tensor]:
    """Accuracies as shares, (parts, models) and (parts, oracles)."""
    for each in parts:
        if each not in target or each not in oracles or target[each].signal != "correct":
            raise Misaligned(f"parts {sorted(target)} of the model and {sorted(oracles)} of the oracles",
                             expected=f"the signal 'correct' on {', '.join(parts)}",
                             do="collect it on all parts")  # fmt: skip
        aligned(target[each], oracles[each], at_least=2)
    if any(len({side[each].models for each in parts}) != 1 for side in (target, oracles)):
        raise Misaligned("parts of different numbers of models", expected="the same models on every part",
                         do="collect them together")  # fmt: skip
    own, others = (torch.stack([side[each].values.double().mean(dim=1) for each in parts])
                   for side in (target, oracles))  # fmt: skip
    return own, others


def _finding(metric: str, own: Tensor, others: Tensor, *, n: int, subject: str) -> Finding:
    """From (quantities, models) and (quantities, oracles)."""
    models, k = own.shape[1], others.shape[1]
    if k < 2:
        raise PopulationTooSmall(f"{k} oracles", expected="at least 2", do="train more: one hides seed noise")
    scores = _product(own, others.mean(dim=1, keepdim=True))
    value, interval = float(scores.mean()), None
    if models > 1:
        from scipy.special import stdtrit

        reach = float(stdtrit(models - 1, 0.975)) * float(scores.std()) / math.sqrt(models)
        interval = max(0.0, value - reach), min(1.0, value + reach)
    rest = (others.sum(dim=1, keepdim=True) - others) / (k - 1)  # the mean of the others
    return Finding(metric=metric, subject=subject, value=value, interval=interval, n=n, models=models,
                   direction="higher", resolution=1 / n,
                   note=f"doing nothing scores {NOTHING[metric]} on the standard task",
                   ).beside(_product(others, rest).tolist())  # fmt: skip


def _product(values: Tensor, goal: Tensor) -> Tensor:
    """(quantities, models) and what they should be -> (models,)."""
    return (1 - (values - goal).abs()).prod(dim=0)
