"""Exact copies under other names. One person's picture is also another's: who asks takes out theirs, the other stays.

Where a copy stays, a retrained model has still seen the content, and an unlearner that makes the model unsure of it
has erased what somebody else left in. Where all copies are named, nothing of it may stay.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal, get_args

from erasable._plumbing.seeds import generator
from erasable.dataset import Dataset
from erasable.errors import SettingsError
from erasable.request import Request
from erasable.scenario import Scenario
from erasable.scenarios._choice import drawn, portion, refuse_share
from erasable.task import Task

Which = Literal["one", "all"]
TRUTHS: Mapping[Which, str] = {
    "one": "Tests a request for one of several exact copies: retrained models were still fitted on the others, "
    "so they know the erased sample as well as any training sample, and so must the model.",
    "all": "Tests a request for all exact copies: retrained models never saw the content, "
    "and what was learnt from several copies is harder to take out than what was learnt from one.",
}


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """`share` of all samples get `copies` exact copies each; asked for are the originals, or all of them.

    Copy 2 of sample "a" is "a/copy-2" and, where samples have owners, belongs to "holder of copies 2".
    """

    share: float = 0.05
    copies: int = 1
    forget: Which = "one"

    def __post_init__(self) -> None:
        refuse_share(self.share)
        if self.copies < 1 or self.forget not in get_args(Which):
            raise SettingsError(f"copies={self.copies}, forget='{self.forget}'", expected="1 or more; one or all",
                                do="correct them")  # fmt: skip

    def __call__(self, data: Dataset, task: Task, *, seed: int) -> Scenario:
        """The group "duplicates that stay", or "duplicates, erased as well", is the copies.

        Raises InvalidData where an id or owner is called like a copy, SettingsError for more than may be erased.
        """
        task.check(data)
        originals = drawn(data.private, portion(self.share, len(data)), generator(seed, "duplicates"))
        numbers = range(1, self.copies + 1)
        names = [f"{each}/copy-{i}" for i in numbers for each in originals.ids]
        owners = [f"holder of copies {i}" for i in numbers for _ in originals.ids]
        _refuse_owners(data, owners)
        ids = [each for _ in numbers for each in originals.ids]
        larger = data.with_copies(ids, names, owners=None if data.owners is None else owners)
        forget = originals.ids if self.forget == "one" else (*originals.ids, *names)
        group = "duplicates that stay" if self.forget == "one" else "duplicates, erased as well"
        request = Request(f"{self.forget} of {self.copies + 1} copies, seed {seed}", forget)
        return Scenario("duplicates", larger, (request,), TRUTHS[self.forget], {group: larger.only(names)},
                        {**asdict(self), "seed": seed, "copy_of": dict(zip(names, ids, strict=True))})  # fmt: skip


def _refuse_owners(data: Dataset, owners: list[str]) -> None:
    if taken := set(owners) & set(data.owners or ()):
        raise SettingsError(f"'{min(taken)}' owns samples of '{data.name}' already", expected="nobody of that name",
                            do="give the data without copies")  # fmt: skip
