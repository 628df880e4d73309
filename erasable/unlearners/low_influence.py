"""Leave alone what hardly matters: any method, on the erased samples that the network feels most.

    keep the samples whose score I(z) is above the `quantile` of all that are to be erased;  then the inner method

score     "gradient-norm"  |grad l(z)|
          "similarity"     |<P grad l(z), P mean_retain grad l>|,   P a random projection to `dimension` numbers
          "influence"      |mean_retain grad l . (H + damping)^-1 grad l(z)|,   H = mean of g g^T over `probes` samples
          "loss", "random" filters to compare with: by confidence, and by nothing

What is left alone is neither erased nor retained: the inner method does not see it, and it *was* in training. The model
comes back with the names, and those of earlier requests, as `model.left_alone`; audits ask about these samples by
themselves, and `divide` says them again. The same filter with a quantile of its own, `retain_quantile`, thins out the
retained data.

Cost: a gradient per sample of what is filtered, and for "similarity" and "influence" a pass over the retained data;
saves up to `quantile` of the inner method's forget passes. Fails when: samples are many of a kind, each without
influence and together remembered; and for fitted networks, whose gradients are small for everybody, so that the
smallest can be those of the samples that were learned by heart. Both are reasons to audit `left_alone`, and to compare
with "random" of the same size.
Reference: Kleiman, Fisher, Deaner, Wieder (2025), "When unlearning is free", arXiv:2512.05254, known here by its
abstract and a summary: thresholds and estimators' details are ours. Differs: there is no validation data in a request,
so the mean retained gradient stands in for theirs; P sorts weights into random buckets with random signs (a count
sketch) instead of a dense matrix; H is the empirical Fisher matrix of a few retained samples, inverted exactly.
"""

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from erasable._plumbing.batching import in_order
from erasable._plumbing.gradients import flat, mean_gradient, per_sample
from erasable._plumbing.seeds import child, generator
from erasable._plumbing.settings import FAMILY
from erasable.dataset import Dataset
from erasable.errors import SettingsError
from erasable.receipt import Level
from erasable.request import Split
from erasable.task import Task
from erasable.unlearner import Needs, Unlearner, declared
from erasable.unlearners.gradient_ascent import GradientAscent

Score = Literal["gradient-norm", "similarity", "influence", "loss", "random"]
TOWARDS: tuple[Score, ...] = ("similarity", "influence")  # scores that ask what a sample does to the retained loss


@dataclass(frozen=True, kw_only=True)
class LowInfluence:
    """A filter before the unlearner `inner`, which must read forget data, or there would be nothing to filter."""

    inner: Unlearner[Any] = field(default_factory=GradientAscent, metadata={FAMILY: "erasable.unlearners"})
    score: Score = "gradient-norm"
    quantile: float = 0.5
    retain_quantile: float = 0.0
    dimension: int = 8192
    damping: float = 0.01
    probes: int = 128
    batch: int = 256
    guarantee: ClassVar[Level] = "empirical"
    needs: ClassVar[Needs] = frozenset({"forget", "retain"})

    def __post_init__(self) -> None:
        if "forget" not in self.inner.needs:
            raise SettingsError(f"a filter of forget data before {type(self.inner).__name__}, which reads none",
                                expected="an unlearner that does", do="use it without the filter")  # fmt: skip
        if not (0 <= self.quantile < 1 and 0 <= self.retain_quantile < 1) or self.damping <= 0:
            raise SettingsError(f"{self}", expected="quantiles in [0, 1) and a positive damping", do="correct them")
        if min(self.dimension, self.probes, self.batch) < 1:
            raise SettingsError(f"{self}", expected="positive dimension, probes and batch", do="correct them")
        reads: set[str] = {"retain"} if self.score in TOWARDS or self.retain_quantile else set()
        object.__setattr__(self, "needs", self.inner.needs | reads)  # fewer than the class may need

    def __call__(self, model: nn.Module, split: Split, task: Any, *, seed: int) -> nn.Module:
        earlier = getattr(model, "left_alone", ())
        kept, left_alone = self.divide(model, split, task, seed=seed)
        result = self.inner(model, declared(kept, self.inner), task, seed=seed)
        inside = getattr(result, "left_alone", ())  # of a filter within this one, or the earlier ones again
        result.left_alone = tuple(dict.fromkeys((*earlier, *inside, *left_alone)))  # type: ignore[assignment]
        return result

    def divide(self, model: nn.Module, split: Split, task: Task, *, seed: int) -> tuple[Split, tuple[str, ...]]:
        """What the inner method is shown, and the ids of the samples to erase that are left alone."""
        scores = self.scores(model, split.forget, split, task, seed=seed)
        above, below = parts(scores, self.quantile)
        retain = split.retain
        if self.retain_quantile:
            retain = retain.take(parts(self.scores(model, retain, split, task, seed=seed), self.retain_quantile)[0])
        return Split(forget=split.forget.take(above), retain=retain), split.forget.take(below).ids

    def scores(self, model: nn.Module, data: Dataset, split: Split, task: Task, *, seed: int) -> Tensor:
        """I(z) of every sample, (samples,)."""
        if self.score == "random":
            return torch.rand(len(data), generator=generator(seed, "score", len(data)))
        if self.score == "loss":
            with torch.no_grad():
                model.eval()
                return torch.cat([task.losses(model, batch) for batch in in_order(task, data, self.batch)]).cpu()
        if self.score == "gradient-norm":
            return torch.cat([each.norm(dim=1) for each in per_sample(model, task, data)]).cpu()
        towards = flat(mean_gradient(model, task, split.retain, batch=self.batch))
        if self.score == "influence":
            towards = self._solve(model, split.retain, task, towards, seed)
            return torch.cat([(each @ towards).abs() for each in per_sample(model, task, data)]).cpu()
        sketch = Sketch(len(towards), self.dimension, child(seed, "projection"), towards.device)
        towards = sketch(towards[None])[0]
        return torch.cat([(sketch(each) @ towards).abs() for each in per_sample(model, task, data)]).cpu()

    def _solve(self, model: nn.Module, retain: Dataset, task: Task, v: Tensor, seed: int) -> Tensor:
        """(H + damping)^-1 v, by Woodbury's identity: a system of as many equations as there are probes."""
        order = torch.randperm(len(retain), generator=generator(seed, "probes"))[: self.probes]
        g = torch.cat(list(per_sample(model, task, retain.take(order))))  # (probes, weights)
        square = (g @ g.T).double() + len(g) * self.damping * torch.eye(len(g), dtype=torch.float64, device=g.device)
        inside = torch.linalg.solve(square, (g @ v).double()).to(v)
        solved: Tensor = (v - g.T @ inside) / self.damping
        return solved


class Sketch:
    """(..., weights) -> (..., dimension): each weight goes, with a random sign, into a random bucket.

    Inner products are right on average. Without a loss where there are no more weights than numbers: then it is the
    identity.
    """

    def __init__(self, weights: int, dimension: int, seed: int, device: torch.device) -> None:
        self.dimension, self.exact = dimension, weights <= dimension
        g = generator(seed)
        self.bucket = torch.randint(dimension, (weights,), generator=g).to(device)
        self.sign = (2 * torch.randint(2, (weights,), generator=g) - 1).to(device)

    def __call__(self, rows: Tensor) -> Tensor:
        if self.exact:
            return rows
        return rows.new_zeros(len(rows), self.dimension).index_add_(1, self.bucket, rows * self.sign)


def parts(scores: Tensor, quantile: float) -> tuple[Tensor, Tensor]:
    """Positions above and below the quantile, each in their old order; of equal scores the earlier are below."""
    order = torch.argsort(scores, stable=True)
    count = math.floor(quantile * len(scores) + 1e-9)  # 0.7 of 10 is 7
    return order[count:].sort().values, order[:count].sort().values
