"""Who asked for what to be erased, and the split of the data that follows from it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from erasable.dataset import Dataset
from erasable.errors import EmptyRequest, NotErasable


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Split:
    """The two data sets that an unlearner may be shown."""

    forget: Dataset
    retain: Dataset


@dataclass(frozen=True)
class Request:
    """One erasure request. Never empty; ids are kept in the order given, without repeats. One id may come as text.

    `case` is the asker's reference, `received` an ISO 8601 time in UTC. Raises EmptyRequest.
    """

    case: str
    ids: tuple[str, ...]
    received: str = field(default_factory=_now)

    def __init__(self, case: str, ids: Iterable[str], received: str | None = None) -> None:
        object.__setattr__(self, "case", case)
        object.__setattr__(self, "ids", tuple(dict.fromkeys([ids] if isinstance(ids, str) else ids)))
        object.__setattr__(self, "received", received or _now())
        if not self.ids:
            raise EmptyRequest(f"request '{case}' names no samples", expected="at least one id",
                               do="pass ids, an owner or a label that exist")  # fmt: skip

    def split(self, data: Dataset) -> Split:
        """Forget and retain views of `data`.

        Raises UnknownSample for an id that is not there, NotErasable for one that was declared public, EmptyRequest
        when nothing would be left to keep.
        """
        forget = data.only(self.ids)
        if public := forget.public.ids:
            raise NotErasable(f"{len(public)} samples were declared public, first '{public[0]}'",
                              expected="samples that may be erased",
                              do="retrain without them: a public part is never erased in place")  # fmt: skip
        if len(forget) == len(data):
            raise EmptyRequest(f"request '{self.case}' names all {len(data)} samples", expected="something that stays",
                               do="delete the model and the data instead")  # fmt: skip
        return Split(forget=forget, retain=data.without(self.ids))
