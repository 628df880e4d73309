"""`erasable forget`: erase samples from a run and print the receipt."""

import copy
from pathlib import Path
from typing import Annotated, Any

import typer

from erasable._plumbing.id_file import read_ids, split_ids
from erasable.cli._options import AsJson, DataAt, RunFolder, Settings, result
from erasable.cli._way import NAMES, Way
from erasable.errors import NotForgettable, SettingsError

SHOWN = 5  # ids in words; --json has all


def forget(
    run: RunFolder,
    ids: Annotated[str | None, typer.Option(metavar="ID,ID", help="Samples by id, with commas between.")] = None,
    ids_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Samples by id: a file, text with one per line or JSON.")
    ] = None,
    owner: Annotated[str | None, typer.Option(metavar="OWNER", help="All samples of a person.")] = None,
    label: Annotated[
        str | None, typer.Option(metavar="LABEL", help="All samples of a class that may be erased: number or name.")
    ] = None,
    unlearner: Annotated[
        str | None,
        typer.Option(metavar="NAME", help=f"For plain networks: {NAMES}."),
    ] = None,
    settings: Settings = None,
    case: Annotated[str | None, typer.Option(metavar="REF", help="Your reference for the request.")] = None,
    seed: Annotated[int, typer.Option(help="Decides what is random in an unlearner.")] = 0,
    data_at: DataAt = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be erased and what not; change nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Erase samples from a run and print the receipt.

    Name them in exactly one way: --ids, --ids-file, --owner or --label. With --set, settings of the unlearner.
    """
    from erasable import catalog
    from erasable.cli._source import data_of
    from erasable.run import Run

    if sum(each is not None for each in (ids, ids_file, owner, label)) != 1:
        raise SettingsError("a request by several of --ids, --ids-file, --owner and --label, or by none",
                            expected="exactly one of them", do="name the samples in one way")  # fmt: skip
    if settings and unlearner is None:
        raise SettingsError("--set without --unlearner", expected="settings of an unlearner", do="add --unlearner NAME")
    opened = Run.open(run)
    names = _names(ids, ids_file)
    way = Way("", None) if unlearner is None else Way.of(unlearner, settings or [])
    reference = case or f"request-{len(opened.receipts) + 1:04d}"
    number = None if label is None else _label(label, opened, data_at)
    request = opened.request(reference, ids=names, owner=owner, label=number)
    model = opened.model
    data = None
    if unlearner is not None:
        way.refuse(request.ids)
        if way.unlearner is None:
            data = data_of(opened, data_at).train()
            gone = set(data.ids).intersection(opened.erased)
            way = way.chosen(request.ids, data.without(gone) if gone else data, model.task)
    chosen = way.unlearner
    if chosen is None and getattr(model, "forget", None) is None:
        raise NotForgettable(f"'{run}' holds a plain {opened.manifest['method']['name']}, which has nothing to erase "
                             "from", expected="an unlearner", do="add --unlearner retrain, which is exact, or another: "
                             f"{', '.join(catalog.UNLEARNERS)}")  # fmt: skip
    reads = model.method.needs_data if chosen is None else True
    if dry_run:
        _rehearse(run, model, request, way, reads, as_json)
        return
    if reads and data is None:
        data = data_of(opened, data_at).train()
    receipt = opened.forget(request, data=data, unlearner=chosen, seed=seed)
    file = run / "receipts" / f"{len(opened.receipts):04d}.json"
    words = [
        *([way.why] if way.why else []),
        receipt.sentence(),
        "Not reached: " + "; ".join(receipt.not_reached) + ".",
        f"Case {receipt.case}, receipt {file}",
        f"Next: erasable audit {run}",
    ]
    result("\n".join(words), {"receipt": str(file), **receipt.model_dump(mode="json"), **_chosen(way)}, as_json)


def _chosen(way: Way) -> dict[str, str]:
    """Why it was chosen, where it was."""
    return {"chosen": way.why} if way.why else {}


def _names(ids: str | None, file: Path | None) -> tuple[str, ...] | None:
    """The ids that were given; None when the request is made in another way."""
    if ids is not None:
        return split_ids(ids)
    return None if file is None else read_ids(file)


def _label(text: str, run: Any, data_at: str | None) -> int:
    """A class by its number or its name. Raises SettingsError."""
    if text.isdecimal():
        return int(text)
    from erasable.cli._source import data_of

    classes = [str(each) for each in data_of(run, data_at).train().facts.get("classes", ())]
    if text not in classes:
        raise SettingsError(f"the label '{text}'", expected=f"a number, or one of {', '.join(classes)}",
                            do="correct it")  # fmt: skip
    return classes.index(text)


def _rehearse(run: Path, model: Any, request: Any, way: Way, reads: bool, as_json: bool) -> None:
    """Say what would happen. What is quick is tried on a copy in RAM; what trains is only announced."""
    from erasable.receipt import INPUT_SCALING, LEVELS, Receipt
    from erasable.unlearner import forget as in_ram

    unlearner = way.plain
    left_out = Receipt.model_fields["not_reached"].default
    if not reads:
        _, receipt = in_ram(copy.deepcopy(model), request)
        level, why, exposure = receipt.level, receipt.why, receipt.exposure
        changed = receipt.weights_before != receipt.weights_after
        how = f"Rows would be deleted from the memory{', and weights changed' if changed else ''}"
    elif unlearner is not None:
        level, exposure = unlearner.guarantee, model.exposure.of(request.ids)
        how = why = f"{type(unlearner).__name__} would change the weights"
        if level == "exact":  # what it does not fit again, as the scaling of the inputs, stays
            remaining = model.exposure.without(request.ids, set(exposure) - {INPUT_SCALING})
            (level, why), exposure = remaining.level(request.ids), remaining.of(request.ids)
    else:
        told = model.exposure.of(request.ids)
        moved = [part for part in told if part != INPUT_SCALING]
        redone = [part for part in moved if part not in model.exposure.mended]
        remaining = model.exposure.without(request.ids, redone)
        (level, why), exposure = remaining.level(request.ids), remaining.of(request.ids)
        how = f"{', '.join(moved)} would be {'trained again without them' if redone else 'changed and then repaired'}"
    some = ", ".join(request.ids[:SHOWN]) + (", ..." if len(request.ids) > SHOWN else "")
    words = [
        *([way.why] if way.why else []),
        f"Would erase {len(request.ids)} samples from {run}: {some}",
        f"{how}. Guarantee: {level.upper()} ({LEVELS[level]}): {why}.",
        "Would not be reached: " + "; ".join(left_out) + ".",
        "Nothing was changed.",
    ]
    facts = {"dry_run": True, "run": str(run), "samples": len(request.ids), "ids": list(request.ids), "level": level,
             "why": why, "exposure": exposure, "not_reached": list(left_out), **_chosen(way)}  # fmt: skip
    result("\n".join(words), facts, as_json)
