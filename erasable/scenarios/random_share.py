"""Some samples at random: the request that papers report most. It is the easy one, since most samples leave no trace
of their own; an average over them hides the few that do.
"""

from dataclasses import asdict, dataclass

from erasable._plumbing.seeds import generator
from erasable.dataset import Dataset
from erasable.request import Request
from erasable.scenario import Scenario
from erasable.scenarios._choice import drawn, portion, refuse_share
from erasable.task import Task

TRUTH = (
    "Tests the average sample: to a retrained model the erased samples are like test samples, "
    "and the few that it was surer of before are hidden by the many."
)


@dataclass(frozen=True, kw_only=True)
class RandomShare:
    """`share` of all samples, drawn among those that may be erased."""

    share: float = 0.1

    def __post_init__(self) -> None:
        refuse_share(self.share)

    def __call__(self, data: Dataset, task: Task, *, seed: int) -> Scenario:
        """Raises SettingsError where fewer samples may be erased, EmptyRequest where nothing would stay."""
        task.check(data)
        forget = drawn(data.private, portion(self.share, len(data)), generator(seed, "random share"))
        return Scenario("random share", data, (Request(f"random share, seed {seed}", forget.ids),), TRUTH,
                        facts={**asdict(self), "seed": seed})  # fmt: skip
