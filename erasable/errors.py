"""Every error that Erasable raises on purpose, as one tree.

    ErasableError
      DataError         MissingFile  InvalidData  WrongDigest
      RequestError      UnknownSample  UnknownOwner  EmptyRequest  AlreadyForgotten  NotErasable
      MismatchError     TaskMismatch  NotForgettable  BatchStatistics  UndeclaredAccess
      EvidenceError     Misaligned  PopulationTooSmall
      StorageError      CorruptRun  NewerVersion  DiskFull
      SettingsError     UnknownName  MissingExtra

Each message is one line with three parts: what came, what was expected, what to do. Branches are named by remedy:
look at the data, the request, the pairing, the evidence, the disk or the settings.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class ErasableError(Exception):
    """Something came that cannot be used. Nothing was changed."""

    def __init__(self, came: str, *, expected: str, do: str) -> None:
        self.came, self.expected, self.do = (" ".join(part.split()) for part in (came, expected, do))
        super().__init__(f"{self.came}; expected {self.expected}; {self.do}")

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.came, self.expected, self.do)


def _rebuild(kind: type[ErasableError], came: str, expected: str, do: str) -> ErasableError:
    return kind(came, expected=expected, do=do)


class DataError(ErasableError):
    """The data cannot be used as they are."""


class MissingFile(DataError):
    """A file that a data set needs is not there."""


class InvalidData(DataError):
    """NaN, a label out of range, a repeated id, columns of different lengths."""


class WrongDigest(DataError):
    """The data differ from those that the model was trained on."""


class RequestError(ErasableError):
    """The erasure request cannot be carried out as it is."""


class UnknownSample(RequestError):
    """An id that the data or the model does not hold."""


class UnknownOwner(RequestError):
    """An owner without samples here."""


class EmptyRequest(RequestError):
    """A request that names nobody."""


class AlreadyForgotten(RequestError):
    """An id that was erased before."""


class NotErasable(RequestError):
    """A sample of the part that was declared public."""


class MismatchError(ErasableError):
    """Two things that do not fit together."""


class TaskMismatch(MismatchError):
    """A method or metric that needs more than the task offers."""


class NotForgettable(MismatchError):
    """A model without a memory to erase from."""


class BatchStatistics(MismatchError):
    """A network whose outputs depend on its batch mates (batch normalisation)."""


class UndeclaredAccess(MismatchError):
    """An unlearner touched data that it did not declare in `needs`."""


class EvidenceError(ErasableError):
    """Numbers that cannot be compared."""


class Misaligned(EvidenceError):
    """Two pieces of evidence about different samples."""


class PopulationTooSmall(EvidenceError):
    """Fewer models than a statement about a distribution needs."""


class StorageError(ErasableError):
    """The run folder cannot be read or written."""


class CorruptRun(StorageError):
    """A run folder that is damaged, incomplete or not a run folder."""


class NewerVersion(StorageError):
    """A folder written by a newer version of Erasable."""


class DiskFull(StorageError):
    """No space is left for an atomic write."""


class SettingsError(ErasableError):
    """A name or a value that is not among the possible ones."""


class UnknownName(SettingsError):
    """A name that the catalog does not hold."""


class MissingExtra(SettingsError):
    """A feature whose optional dependency is not installed."""


def nearest_names(name: str, among: Iterable[str], *, shown: int = 3) -> str:
    """A phrase that offers the closest known names, or the first few."""
    known = list(among)
    close = get_close_matches(name, known, n=shown, cutoff=0.5)
    offered = ", ".join(repr(each) for each in (close or known[:shown]))
    return f"did you mean {offered}?" if close else f"some that exist: {offered or '(none)'}"
