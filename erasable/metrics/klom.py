"""KLoM: how far the margins of unlearned models are from those of oracles, sample by sample, over training runs.

For one sample the target's models give a histogram P of margins and the oracles one Q; KLoM is KL(P || Q) in nats. Both
directions and their mean ("symmetric") are reported, over samples as mean, median and 95th percentile, with the share
of samples on which the ensembles do not even overlap: there a distance of histograms is at its end and ranks nothing.

    bins       quantiles of the oracles alone, open at both ends, five oracles or more in each, 20 at most
    smoothing  half a model is added to each bin of P and of Q (H. Jeffreys), so that no bin is empty
    floor      one half of the oracles against the other, several random halves

KLoM of two finite ensembles is far from 0 where nothing differs, and the more so the fewer models there are. The target
is therefore measured like the floor: with as many of its models, against the same half, averaged over the splits. Give
twice as many oracles as models to compare, and all of the latter are used.

K. Georgiev et al., *Attribute-to-Delete* (ICLR 2025, arXiv 2410.23232). `published` gives their binning: 20 bins of
equal width over the range of both ensembles, Q at least 1e-5, margins within 100 (their code also drops the largest
value; here it counts). One diverged model stretches such bins and makes all numbers smaller. The two public releases
take opposite directions, so their tables cannot be compared.
"""

import torch
from torch import Tensor

from erasable.errors import Misaligned
from erasable.evidence import Evidence, Finding
from erasable.metrics._resampling import against_half, bootstrap, ensembles
from erasable.metrics._sides import by_sample, judged, sides

BINS = 20
PER_BIN = 5  # oracles
FLOOR = 1e-5  # of Q, published form
CLIP = 100.0  # of margins, published form
DIRECTIONS = ("symmetric", "model||oracles", "oracles||model")
OF_SIDES = ("unlearned to never seen", "never seen to unlearned")


def klom(target: Evidence, oracles: Evidence, *, subject: str, published: bool = False, splits: int = 20,
         seed: int = 0) -> tuple[Finding, ...]:  # fmt: skip
    """From the signal `margin`, or any other with one number per sample: nine findings, and the saturated share.

    Raises Misaligned, PopulationTooSmall for fewer than two models or four oracles.
    """
    if splits < 1:
        raise Misaligned(f"{splits} splits of the oracles", expected="one or more", do="leave the default of 20")
    unlearned, retrained = ensembles(target, oracles, least=(2, 4))
    seen, floor = [], []
    for some, as_many, half in against_half(unlearned, retrained, splits=splits, seed=seed, name="klom"):
        seen.append(_both_ways(some, half, published))
        floor.append(_both_ways(as_many, half, published))
    value, null = torch.stack(seen), torch.stack(floor)  # (splits, 4, samples)
    name, n = "KLoM, published bins" if published else "KLoM", len(target.ids)
    note = f"{len(some)} models against {len(half)} oracles, {splits} splits"

    def finding(metric: str, each: Tensor, among: Tensor, unit: str, spread: Tensor | None = None) -> Finding:
        """From one number per split, of the target and of the oracles."""
        interval = None if spread is None else bootstrap(spread, seed, metric)
        resolution = 100 / n if unit == "%" else 1e-6
        return Finding(metric=metric, subject=subject, value=float(each.mean()), unit=unit, interval=interval, n=n,
                       models=target.models, direction="lower", resolution=resolution, note=note
                       ).beside(among.tolist())  # fmt: skip

    found = []
    for row, direction in enumerate(DIRECTIONS):
        told, ours, theirs = f"{name} {direction}", value[:, row], null[:, row]  # (splits, samples)
        found += [
            finding(f"{told} mean", ours.mean(dim=1), theirs.mean(dim=1), "nats", ours.mean(dim=0)),
            finding(f"{told} median", ours.quantile(0.5, dim=1), theirs.quantile(0.5, dim=1), "nats"),
            finding(f"{told} P95", ours.quantile(0.95, dim=1), theirs.quantile(0.95, dim=1), "nats"),
        ]
    ours, theirs = 100 * value[:, 3], 100 * null[:, 3]
    apart = finding(f"{name} saturated", ours.mean(dim=1), theirs.mean(dim=1), "%", ours.mean(dim=0))
    return *found, apart


def klom_of_sides(
    margins: Evidence, unlearned: Tensor, never: Tensor, *, subject: str, splits: int = 20, seed: int = 0
) -> tuple[Finding, ...]:
    """The same inside an unlearning game, where every sample has its own models on both sides, (models, samples) bool.

    For both directions the mean over samples and the 95th percentile; beside it models that never had the sample, as
    many as unlearned it, in the place of those. Raises Misaligned, PopulationTooSmall where no sample has three models
    that unlearned it and ten more that never had it, EvidenceError.
    """
    given = judged(margins, unlearned, never)
    seen, floor = [], []
    for each in sides(margins, unlearned, never, given, splits=splits, seed=seed, name="klom"):
        seen.append(by_sample(_both_ways(each.unlearned, each.rest, False), splits))
        floor.append(by_sample(_both_ways(each.as_many, each.rest, False), splits))
    value, null = torch.cat(seen, dim=2), torch.cat(floor, dim=2)  # (4, splits, samples)
    note, found = f"{given.note}, {splits} splits", []
    for row, direction in enumerate(OF_SIDES, start=1):
        ours, theirs = value[row], null[row]
        whole = bootstrap(ours.mean(dim=0), seed, f"KLoM {direction}")
        for of, mine, among, interval in (
            ("mean", ours.mean(dim=1), theirs.mean(dim=1), whole),
            ("P95", ours.quantile(0.95, dim=1), theirs.quantile(0.95, dim=1), None),
        ):
            found.append(Finding(metric=f"KLoM, {direction}, {of}", subject=subject, value=float(mine.mean()),
                                 unit="nats", interval=interval, n=len(given.at), models=margins.models, note=note,
                                 direction="lower", resolution=1e-6).beside(among.tolist()))  # fmt: skip
    return tuple(found)


def divergences(left: Tensor, right: Tensor, *, edges_of: Tensor | None = None) -> Tensor:
    """KL(left || right) of each sample (samples,), from margins (models, samples) of two ensembles.

    With `edges_of`, an ensemble, its quantiles are the edges of the bins; without, it is the published form.
    """
    if edges_of is None:
        left, right = left.clamp(-CLIP, CLIP), right.clamp(-CLIP, CLIP)
        least = torch.minimum(left.amin(dim=0), right.amin(dim=0))
        width = torch.maximum(left.amax(dim=0), right.amax(dim=0)) - least
        edges = least + width * torch.arange(1, BINS)[:, None] / BINS
        p, q = (_counts(each, edges) / len(each) for each in (left, right))
        return torch.xlogy(p, p / q.clamp(min=FLOOR)).sum(dim=1)
    edges = _quantiles(edges_of)
    p, q = ((_counts(each, edges) + 0.5) / (len(each) + 0.5 * (len(edges) + 1)) for each in (left, right))
    return (p * (p / q).log()).sum(dim=1)


def _both_ways(models: Tensor, oracles: Tensor, published: bool) -> Tensor:
    """(4, samples): symmetric, KL(models || oracles), KL(oracles || models), and 1 where the two do not overlap."""
    edges_of = None if published else oracles
    there = divergences(models, oracles, edges_of=edges_of)
    back = divergences(oracles, models, edges_of=edges_of)
    apart = (models.amin(dim=0) > oracles.amax(dim=0)) | (models.amax(dim=0) < oracles.amin(dim=0))
    return torch.stack([(there + back) / 2, there, back, apart.double()])


def _quantiles(oracles: Tensor) -> Tensor:
    """Inner edges (bins - 1, samples), each halfway between two oracles that are neighbours in rank."""
    bins = min(BINS, max(2, len(oracles) // PER_BIN))
    ranks = (torch.arange(1, bins) * len(oracles)) // bins
    ordered = oracles.sort(dim=0).values
    return (ordered[ranks - 1] + ordered[ranks]) / 2


def _counts(values: Tensor, edges: Tensor) -> Tensor:
    """How many models (models, samples) fall between the edges (bins - 1, samples): (samples, bins)."""
    at = torch.searchsorted(edges.T.contiguous(), values.T.contiguous(), right=True)
    counts = values.new_zeros(values.shape[1], len(edges) + 1)
    return counts.scatter_add_(1, at, torch.ones_like(values.T))
