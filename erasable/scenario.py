"""A request to test with: data to train on, what is then asked for, and what must come of it.

    scenario = Mislabelled(share=0.01)(data, task, seed=0)      # any file of `erasable.scenarios`
    scenario.data                    what to train on: the data given, or a changed copy (wrong labels, duplicates)
    scenario.request                 the one request; `requests` and `before(round)` where there are several
    scenario.groups["..."].ids       further samples worth looking at, in the data or in the test data
    scenario.truth                   what it tests, and what a model that was retrained would do

A scenario holds no model: the same one serves every method, its oracles and the model that forgets nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from erasable.dataset import Dataset
from erasable.errors import EmptyRequest, SettingsError
from erasable.request import Request


@dataclass(frozen=True, eq=False)
class Scenario:
    """Requests in the order in which they come, each against what the earlier ones left.

    groups  views that are never empty, by a name that can be read in a report
    facts   JSON-like notes: the settings, the seed, and what was drawn (a class, an owner, wrong labels by id)

    Raises what Request.split raises (an id that is not there, or is gone by then; a public one; nothing that stays),
    and EmptyRequest for no requests or an empty group.
    """

    name: str
    data: Dataset
    requests: tuple[Request, ...]
    truth: str
    groups: Mapping[str, Dataset] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.requests:
            raise EmptyRequest(f"scenario '{self.name}' asks for nothing", expected="at least one request",
                               do="build it with the requests that are to come")  # fmt: skip
        left = self.data
        for request in self.requests:
            left = request.split(left).retain
        if empty := [name for name, group in self.groups.items() if not len(group)]:
            raise EmptyRequest(f"the group '{empty[0]}' of scenario '{self.name}' has no samples",
                               expected="at least one", do="leave the group out")  # fmt: skip

    @property
    def request(self) -> Request:
        """The only request. Raises SettingsError where there are several."""
        if len(self.requests) > 1:
            raise SettingsError(f"the request of scenario '{self.name}', which has {len(self.requests)}",
                                expected="one", do="go through `requests`, each asked of `before(round)`")  # fmt: skip
        return self.requests[0]

    def before(self, round_: int) -> Dataset:
        """What request number `round_` is asked of; with the number of requests, what is left after the last."""
        if not 0 <= round_ <= len(self.requests):
            raise SettingsError(f"round {round_} of scenario '{self.name}'", expected=f"0 to {len(self.requests)}",
                                do="choose another")  # fmt: skip
        gone = [each for request in self.requests[:round_] for each in request.ids]
        return self.data.without(gone) if gone else self.data

    def record(self) -> dict[str, Any]:
        """What to publish beside a number: digests of the data, the ids of each request and group, and the facts."""
        return {
            "name": self.name, "truth": self.truth, "data": self.data.name, "digest": self.data.digest(),
            "requests": [{"case": each.case, "ids": list(each.ids)} for each in self.requests],
            "groups": {name: list(group.ids) for name, group in self.groups.items()}, "facts": dict(self.facts),
        }  # fmt: skip
