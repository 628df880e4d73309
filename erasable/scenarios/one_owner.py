"""Everything of one person: what a real request looks like. One person's samples resemble each other, so that they are
more than as many random ones: erased together, nothing of their kind stays.
"""

from collections import Counter
from dataclasses import asdict, dataclass

from erasable._plumbing.seeds import generator
from erasable.dataset import Dataset
from erasable.errors import EmptyRequest, SettingsError
from erasable.request import Request
from erasable.scenario import Scenario
from erasable.scenarios._choice import one_of
from erasable.task import Task

TRUTH = (
    "Tests a person's request: a retrained model never saw anything of this owner, "
    "so it is to know no more of these samples than of a stranger's."
)


@dataclass(frozen=True, kw_only=True)
class OneOwner:
    """All samples of `owner`; without one, of an owner of the median size among those with at least `least` samples.

    Most people have few samples: `least` keeps the choice away from the many who have one. Of several owners of that
    size the seed chooses.
    """

    owner: str | None = None
    least: int = 1

    def __post_init__(self) -> None:
        if self.least < 1:
            raise SettingsError(f"least={self.least}", expected="1 or more", do="correct the number")

    def __call__(self, data: Dataset, task: Task, *, seed: int) -> Scenario:
        """Raises UnknownOwner, NotErasable for a named owner with public samples, EmptyRequest for no such owner."""
        task.check(data)
        owner = self._median(data, seed) if self.owner is None else self.owner
        forget = data.owned_by(owner)
        return Scenario("one owner", data, (Request(f"everything of {owner}", forget.ids),), TRUTH,
                        facts={**asdict(self), "seed": seed, "owner": owner, "samples": len(forget)})  # fmt: skip

    def _median(self, data: Dataset, seed: int) -> str:
        public = set(data.public.owners or ())
        sizes = {name: n for name, n in Counter(data.owners or ()).items() if n >= self.least and name not in public}
        if not sizes:
            raise EmptyRequest(f"no owner in '{data.name}' with {self.least} samples, none of them public",
                               expected="one at least", do="name an owner, or lower `least`")  # fmt: skip
        middle = sorted(sizes.values())[(len(sizes) - 1) // 2]
        alike = sorted(name for name, n in sizes.items() if n == middle)
        return alike[one_of(list(range(len(alike))), generator(seed, "one owner"))]
