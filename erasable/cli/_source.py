"""The data of a run, found again by what its manifest says."""

from erasable.run import Run
from erasable.source import Source


def data_of(run: Run, moved_to: str | None) -> Source:
    """Raises CorruptRun for a run whose manifest does not say; SettingsError for moving what needs no files."""
    spec = run.manifest["data"].get("spec") or {}
    source = Source.from_spec(spec.get("source"))
    return source if moved_to is None else source.at(moved_to)
