"""Is the model surer of the sample, relative to models that did not see it, than of most other people's samples?

    Pr(x)    = 1/2 (mean_out + mean_in)    probability of the right answer, averaged over models; offline, with OUT
                                           models only, mean_in is taken to be a mean_out + (1 - a)
    ratio(x) = p(x) / Pr(x)
    score(x) = share of the population samples z with ratio(x) >= gamma ratio(z)

Works with one to four reference models, where LiRA needs dozens. Give it the signal `confidence`.

S. Zarifzadeh, P. Liu, R. Shokri, *Low-Cost High-Power Membership Inference Attacks* (ICML 2024, arXiv 2312.03262). a =
0.3 and gamma = 1 are the defaults of the authors' code; they tune a with a pair of shadow models. Differs from it: OUT
models are chosen by the mask, not by sorting what is not zero; population samples may be members of some models, which
then do not count as OUT for them; a sample of the population without IN models is treated as offline.
"""

import torch
from torch import Tensor

from erasable.attacks._pairs import pairs, scalar, scored
from erasable.errors import EvidenceError, Misaligned, PopulationTooSmall, SettingsError
from erasable.evidence import Evidence, Scores, aligned

SAME = 1e-12  # ratios this near are equal, however their means were summed


def rmia(
    targets: Evidence,
    population: Evidence,
    *,
    references: tuple[Evidence, Evidence] | None = None,
    online: bool = False,
    a: float = 0.3,
    gamma: float = 1.0,
    truth: Tensor | None = None,
    counted: Tensor | None = None,
    paired: bool = False,
) -> Scores:
    """Score each pair in [0, 1], from the targets' signal on the samples asked about and on a `population` of others.

    population      may be of the same samples: then none is compared with itself
    references      the reference models' signal on the two; None: the targets are each other's references
    paired          target i is reference i, to which something was done since, such as unlearning: it is no reference
                    for itself
    truth, counted  (models, samples) or (samples,) bool over the targets; `targets.member` and all when None

    Population samples that a target was fitted on, or that no reference is OUT for, are left out for it. Pairs without
    an OUT reference (online: without an OUT and an IN one) are not counted. The threshold for `rates` is 0.5. Time and
    memory grow with samples + population, not with their product: the population is sorted. Raises Misaligned,
    EvidenceError, PopulationTooSmall, SettingsError.
    """
    if not 0 <= a <= 1 or gamma <= 0:
        raise SettingsError(f"a={a}, gamma={gamma}", expected="a in [0, 1] and gamma over 0", do="correct them")
    on_x, on_z = references or (targets, population)
    same = on_x is targets
    leave = same or paired
    aligned(targets, on_x, at_least=2 if leave else 1)
    aligned(population, on_z)
    if (population.models != targets.models or on_x.models != on_z.models or same != (on_z is population)
            or (paired and on_x.models != targets.models)):  # fmt: skip
        raise Misaligned(f"{targets.models} targets and {on_x.models} references, on the population "
                         f"{population.models} and {on_z.models}", expected="the same models on both",
                         do="collect samples and population from the same models")  # fmt: skip
    x, has_x = _ratio(targets, on_x, leave=leave, online=online, a=a, estimate=False)
    z, has_z = _ratio(population, on_z, leave=leave, online=online, a=a, estimate=True)
    usable = has_z & ~population.member
    itself = usable if population.ids == targets.ids else torch.zeros_like(targets.member)
    among = usable.sum(1, keepdim=True) - itself.long()  # (models, 1), or one less where the sample itself is in there
    asked = pairs(targets, counted, default=torch.ones_like(targets.member)) & has_x & (among > 0)
    if not bool(asked.any()):
        raise PopulationTooSmall(f"{on_x.models} references and {int(among.max())} samples of the population at most",
                                 expected=f"an OUT model{' and an IN one' if online else ''} for some sample, and a "
                                 "population that the target did not see",
                                 do="train references without the samples")  # fmt: skip
    ordered = torch.where(usable, gamma * z, torch.inf).sort(1).values
    reached = torch.searchsorted(ordered, x * (1 + SAME), right=True)
    if population.ids == targets.ids:
        reached = reached - (itself & (gamma * z <= x * (1 + SAME))).long()
    found = reached.double() / among.clamp(min=1)
    return scored("RMIA online" if online else "RMIA", targets, found,
                  pairs(targets, truth, default=targets.member), asked)  # fmt: skip


def _ratio(
    asked: Evidence, references: Evidence, *, leave: bool, online: bool, a: float, estimate: bool
) -> tuple[Tensor, Tensor]:
    """p / Pr, (models, samples), and where it is known. Online, an IN mean that is missing may be an `estimate`."""
    p, other = scalar(asked), scalar(references)
    if not bool(((p > 0) & (p <= 1)).all() & ((other > 0) & (other <= 1)).all()):
        raise EvidenceError(f"signal '{asked.signal}' with values outside (0, 1]", expected="probabilities",
                            do="give the signal 'confidence'")  # fmt: skip
    out, n_out = _mean_of(other, ~references.member, leave)
    expected = a * out + (1 - a)
    known = n_out > 0
    if online:
        measured, n_in = _mean_of(other, references.member, leave)
        known = known & (estimate | (n_in > 0))
        expected = torch.where(n_in > 0, measured, expected)
    average = (out + expected) / 2
    return torch.where(known, p / torch.where(known, average, 1.0), 0.0), known.expand(p.shape)


def _mean_of(values: Tensor, side: Tensor, leave: bool) -> tuple[Tensor, Tensor]:
    """The mean over models on the side, without each model itself where it is to `leave`, and how many there are."""
    there = torch.where(side, values, 0.0)
    gone, own = (side.long(), there) if leave else (torch.zeros_like(side[:1].long()), torch.zeros_like(there[:1]))
    n = side.sum(0) - gone
    return (there.sum(0) - own) / n.clamp(min=1), n
