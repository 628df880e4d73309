"""The samples that a model remembers least, middling or most, by a score that comes from elsewhere.

Averages over random samples hide the few that are remembered; strata do not. A natural score is a sample's own
advantage under a likelihood-ratio attack on models trained with and without it. V. Feldman, C. Zhang, *What neural
networks memorize and why* (NeurIPS 2020, arXiv 2008.03703); K. Zhao et al., *What makes unlearning hard and what to do
about it* (NeurIPS 2024, arXiv 2406.01257).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal, get_args

import torch

from erasable._plumbing.seeds import generator
from erasable.dataset import Dataset
from erasable.errors import Misaligned, PopulationTooSmall, SettingsError
from erasable.request import Request
from erasable.scenario import Scenario
from erasable.scenarios._choice import portion, refuse_share
from erasable.task import Task

Stratum = Literal["low", "middle", "high"]
TRUTHS: Mapping[Stratum, str] = {
    "low": "Tests samples that leave next to no trace: a retrained model answers them as before, so a change is harm.",
    "middle": "Tests samples of middling memorisation: the change that retraining brings lies between the other two.",
    "high": "Tests what models know by heart: a retrained model is far less sure of these samples, often wrong, "
    "and a leak that averages hide shows here first.",
}


@dataclass(frozen=True, kw_only=True)
class Memorisation:
    """`share` of the scored samples (at most a third) with the lowest, the middle or the highest scores."""

    stratum: Stratum = "high"
    share: float = 0.1

    def __post_init__(self) -> None:
        refuse_share(self.share, most=1 / 3)
        if self.stratum not in get_args(Stratum):
            raise SettingsError(f"stratum '{self.stratum}'", expected="low, middle or high", do="choose one of them")

    def __call__(self, data: Dataset, task: Task, *, scores: Mapping[str, float], seed: int) -> Scenario:
        """`scores` by id, larger = remembered more; samples without one, and public ones, are left aside.

        The other two strata, as large and disjoint, are groups; the seed orders equal scores. Raises UnknownSample,
        Misaligned for a score that is not finite, PopulationTooSmall for fewer than three samples to choose from.
        """
        task.check(data)
        asked = data.only(scores).private
        values = torch.tensor([scores[each] for each in asked.ids], dtype=torch.float64)
        if not bool(torch.isfinite(values).all()):
            raise Misaligned("a score of memorisation is NaN or infinite", expected="finite numbers",
                             do="leave out samples that could not be scored")  # fmt: skip
        if (n := len(asked)) < 3:
            raise PopulationTooSmall(f"{n} scored samples that may be erased", expected="3 at least, one per stratum",
                                     do="score more samples")  # fmt: skip
        mixed = torch.randperm(n, generator=generator(seed, "memorisation"))
        order = mixed[values[mixed].sort(stable=True).indices]
        size = min(portion(self.share, n), n // 3)
        starts: dict[Stratum, int] = {"low": 0, "middle": (n - size) // 2, "high": n - size}
        strata = {name: order[at : at + size].sort().values for name, at in starts.items()}
        ranges = {name: [float(values[at].min()), float(values[at].max())] for name, at in strata.items()}
        request = Request(f"{self.stratum} memorisation, seed {seed}", asked.take(strata[self.stratum]).ids)
        return Scenario("memorisation", data, (request,), TRUTHS[self.stratum],
                        {f"{name} memorisation": asked.take(at) for name, at in strata.items() if name != self.stratum},
                        {**asdict(self), "seed": seed, "scores": ranges})  # fmt: skip
