"""Data sets for commands: those of a run, found again by what its manifest says, and those that options name."""

from collections.abc import Mapping
from typing import Any

from erasable.cli._fields import pairs
from erasable.run import Run
from erasable.source import Source


def data_of(run: Run, moved_to: str | None) -> Source:
    """Raises CorruptRun for a run whose manifest does not say; SettingsError for moving what needs no files."""
    spec = run.manifest["data"].get("spec") or {}
    source = Source.from_spec(spec.get("source"))
    return source if moved_to is None else source.at(moved_to)


def source_of(data: str, options: Mapping[str, Any], **more: Any) -> Source:
    """What --data and the options with parameters of these names say. Raises what `Source.of` does."""
    id, owner = options["sample_id"], options["owner"]
    named = {"id": id, "owner": owner} if data.startswith("table:") else {"ids": id, "owners": owner}
    same = {key: options[key] for key in ("data_dir", "low", "high", "size", "owner_from")}
    return Source.of(data, columns=pairs(options["column"]), test_columns=pairs(options["test_column"]),
                     label=options["label_column"], **same, **named, **more)  # fmt: skip
