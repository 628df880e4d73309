"""`erasable audit --model`: judge weights that were made elsewhere."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from erasable import cli, population
from erasable._plumbing.id_file import read_ids
from erasable._plumbing.progress import Steps, duration
from erasable.audit import Subject, compile_report, judge
from erasable.cli._audit_run import ORACLES
from erasable.cli._modes import command, flag, ids_of, refuse_used
from erasable.cli._options import result
from erasable.cli._source import source_of
from erasable.cli.audit import refuse_untrainable, write_report
from erasable.dataset import Dataset
from erasable.errors import PopulationTooSmall, SettingsError, UnknownSample
from erasable.foreign import Architecture, Foreign, oracles_in, refuse_untrained
from erasable.population import Population
from erasable.probe import Probe
from erasable.report import Row
from erasable.request import Request
from erasable.source import Source
from erasable.tasks.classification import Classification
from erasable.train import Recipe
from erasable.unlearner import weights_digest

WORD = "What the model was trained on is the word of whoever trained it: weights do not show it."
GIVEN = "That the oracles never saw the erased samples is the word of whoever gave them."
RECIPE = (
    "The oracles were trained here, by a recipe of Erasable's. Where the model was trained by another one, it differs "
    "for that reason too, and 'stands out' may mean no more."
)


def audit_model(options: Mapping[str, Any]) -> None:
    """Raises what reading, building, training, judging and writing raise."""
    begin, out, seed, relearn = time.perf_counter(), options["out"], options["seed"], options["relearn"]
    refuse_used(out)
    count, folder = _oracles(options)
    gone = ids_of(options["forget_ids"])
    manifest = None if options["manifest"] is None else read_ids(options["manifest"])
    if manifest is not None:
        refuse_untrained(gone, manifest)
    module, colon, _ = options["architecture"].partition(":")
    if module and colon:
        cli._import(module)
    changed = {each: options[each] for each in ("epochs", "batch", "lr") if options[each] is not None}
    design = Architecture(build=options["architecture"], recipe=Recipe(**changed))
    samples, fresh = _parts(source_of(options["data"], options), manifest, trains=folder is None)
    task = Classification.of(samples)
    trained_ids = frozenset(samples.ids if manifest is None else manifest)
    model = Foreign.load(options["model"], architecture=design, task=task, trained_ids=trained_ids)
    model.check(samples)
    earlier = None
    if options["before"] is not None:
        earlier = Foreign.load(options["before"], architecture=design, task=task, trained_ids=trained_ids)
    request = Request(f"{len(gone)} ids", gone)
    probe = Probe.of(request, samples, fresh, task, seed=seed)
    if relearn and (folder is None or earlier is not None):
        refuse_untrainable(model, task, probe)
    reference = None
    if folder is not None:
        reference = oracles_in(folder, architecture=design, task=task, trained_ids=trained_ids - set(gone),
                               beside=[model])  # fmt: skip
    steps, reference, control = _train(design, samples, task, gone, count, seed, reference, earlier)
    with steps.step("judging", about=2.0 + 0.2 * len(reference)):
        seen = probe.look([control]) if relearn and control is not None else None
        name = Path(options["model"]).name
        subjects = [Subject(name="this model", model=model, oracles=reference, before=seen,
                            note=RECIPE if folder is None else "")]  # fmt: skip
        if control is not None:
            note = "The weights from before the erasure" if earlier is not None else "Trained here on everything"
            subjects.append(Subject(name="do nothing", model=control, oracles=reference, before=seen, role="untouched",
                                    note=f"{note}: the alarm must ring."))  # fmt: skip
        section = judge(subjects, probe, title=f"{len(gone)} samples erased from {name}", seed=seed)
        cautions = [*_doubts(section.rows[0]), *section.cautions, WORD, *([GIVEN] if folder is not None else [])]
        if absent := len(trained_ids.difference(samples.ids)):
            cautions.append(f"{absent} ids of the manifest are not in the data: nothing was asked about them.")
        digests = {**section.digests, "weights": weights_digest(model.network)}
        section = section.model_copy(update={"cautions": tuple(cautions), "digests": digests})
        made = compile_report([section], title=f"Audit of {name}", show_samples=options["show_samples"],
                              command=command(options))  # fmt: skip
        write_report(out, made)
    row = section.rows[0]
    words = [section.verdict, f"this model: {row.verdict}", *section.cautions, str(out / "report.html")]
    facts = {"report": str(out / "report.html"), "json": str(out / "report.json"), "verdict": section.verdict,
             "status": row.status, "control": section.rows[1].status if control is not None else None,
             "oracles": len(reference), "cautions": list(section.cautions),
             "seconds": round(time.perf_counter() - begin, 2)}  # fmt: skip
    result("\n".join(words), facts, options["as_json"])


def _oracles(options: Mapping[str, Any]) -> tuple[int, Path | None]:
    """How many to train, or the folder that they lie in."""
    text = options["oracles"]
    if text is None or text == "train" or text.isdecimal():
        count = int(text) if text is not None and text.isdecimal() else ORACLES["quick"]
        if count < 2:
            raise PopulationTooSmall(f"{count} oracles", expected="at least 2", do="train more: one model hides seed "
                                     "noise")  # fmt: skip
        return count, None
    if wrong := [each for each in ("epochs", "batch", "lr") if options[each] is not None]:
        raise SettingsError(f"{flag(wrong[0])} with oracles from '{text}'", expected="it with --oracles train only",
                            do="leave it out")  # fmt: skip
    return 0, Path(text)


def _parts(source: Source, manifest: tuple[str, ...] | None, *, trains: bool) -> tuple[Dataset, Dataset]:
    """What the model was trained on, and samples that it was not trained on.

    Without a manifest these are the parts of a published set. Nothing is guessed about other data.
    """
    whole = source.whole()
    if manifest is None:
        if whole is not None and source.name in ("npz", "npy-folder", "image-folder", "table"):
            raise SettingsError("no --manifest for data without a test part", expected="the ids that the model was "
                                "trained on", do="add --manifest FILE, or name a test part with "
                                "--test-column")  # fmt: skip
        return source.train(), source.test()
    samples, fresh = (source.train(), source.test()) if whole is None else (whole, whole)
    told = frozenset(manifest)
    used = [each for each in samples.ids if each in told]
    if trains and (lost := told.difference(samples.ids)):
        raise UnknownSample(f"{len(lost)} of {len(told)} ids of the manifest are not in '{samples.name}', first "
                            f"'{min(lost)}'", expected="all that the oracles have to be trained on",
                            do="give these data, or oracles in a folder")  # fmt: skip
    unused = [each for each in fresh.ids if each not in told]
    if not used or not unused:
        raise UnknownSample(f"the manifest names {'all' if used else 'none'} of the samples of '{samples.name}'",
                            expected="samples that were trained on, and others to test on",
                            do="correct the manifest, or give more data")  # fmt: skip
    return samples.only(used), fresh.only(unused)


def _train(
    design: Architecture, samples: Dataset, task: Classification, gone: tuple[str, ...], count: int, seed: int,
    reference: Population | None, earlier: Foreign | None,
) -> tuple[Steps, Population, Foreign | None]:  # fmt: skip
    """The oracles, and what knows the samples: the model from before, or one that is trained here on everything."""
    if reference is not None:
        steps = Steps(2.0 + 0.2 * len(reference))
        steps.say(f"Audit of {len(gone)} erased samples with {len(reference)} oracles that were given")
        return steps, reference, earlier
    once = max(1.0, len(samples) * design.recipe.epochs / 15_000)  # an order of magnitude, for a small network
    steps = Steps((count + 1) * once + 2.0 + 0.2 * count)
    steps.say(f"Audit of {len(gone)} erased samples with {count} oracles: roughly {duration(steps.expected)}")
    first = 1000 * (seed + 1)
    with steps.step(f"training {count} models without the erased samples", about=count * once) as told:
        trained = population.oracles(design, samples.without(gone), task, seeds=range(first + 1, first + 1 + count),
                                     progress=told)  # fmt: skip
    if earlier is None:
        with steps.step("training a control on everything", about=once) as told:
            earlier = design.train(samples, task, seeds=[first], progress=told)[0]
    return steps, trained, earlier


def _doubts(row: Row) -> list[str]:
    """Is this the right model for the data at all?"""
    kept = row.finding("retain accuracy")
    if kept is None or kept.null_mean is None or kept.value > kept.null_mean / 2:
        return []
    return [f"The model is right on {kept.value:.0f} % of the retained samples, the oracles on {kept.null_mean:.0f} %: "
            "before anything else, check that it was made for these data, the same order of classes, and inputs scaled "
            "to [-1, 1]."]  # fmt: skip
