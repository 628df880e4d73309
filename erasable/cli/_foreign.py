"""`erasable audit --model`: judge weights that were made elsewhere."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from erasable import cli
from erasable._plumbing.id_file import read_ids
from erasable._plumbing.progress import Steps, duration
from erasable.audit import Subject, compile_report, judge
from erasable.cli._modes import command, flag, ids_of, refuse_used
from erasable.cli._options import RecipeOptions, names, result
from erasable.cli._source import source_of
from erasable.cli._suites import MODELS, ORACLES, TOO_FEW, Game, Work, judging_seconds, refuse, refuse_few
from erasable.cli._threads import choose, repeating
from erasable.cli._trainings import CHUNK, Trainings, kept_beside
from erasable.cli._way import AUTO, Way
from erasable.cli.audit import refuse_untrainable, write_report
from erasable.dataset import Dataset
from erasable.errors import SettingsError, UnknownSample
from erasable.foreign import Architecture, Foreign, oracles_in, refuse_untrained
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
NOT_PLAYED = (
    "The unlearning game was not played, for nobody here knows how the model was made to forget. Where it is known, "
    "--unlearner NAME plays it."
)
PLAYED = (
    "The unlearning game was played with models that were trained here by a recipe of Erasable's, and unlearned by {}. "
    "It says something about this model only if it was trained and unlearned like them, which nobody here can check."
)


def audit_model(options: Mapping[str, Any]) -> None:
    """Raises what reading, building, training, judging and writing raise."""
    begin, out, seed, suite = time.perf_counter(), options["out"], options["seed"], options["suite"]
    refuse(suite, options["models"])
    chosen = _way(options)
    way, name = chosen.unlearner, chosen.name
    refuse_used(out)
    count, folder = _oracles(options, plays=way is not None)
    gone = ids_of(options["forget_ids"])
    chosen.refuse(gone)
    manifest = None if options["manifest"] is None else read_ids(options["manifest"])
    if manifest is not None:
        refuse_untrained(gone, manifest)
    module, colon, _ = options["architecture"].partition(":")
    if module and colon:
        cli._import(module)
    changed = {each: options[each] for each in names(RecipeOptions) if options[each] is not None}
    design = Architecture(build=options["architecture"], recipe=Recipe(**changed))
    samples, fresh = _parts(source_of(options["data"], options), manifest, trains=folder is None)
    task = Classification.of(samples)
    trained_ids = frozenset(samples.ids if manifest is None else manifest)
    model = Foreign.load(options["model"], architecture=design, task=task, trained_ids=trained_ids)
    model.check(samples)
    earlier = None
    if options["before"] is not None:
        earlier = Foreign.load(options["before"], architecture=design, task=task, trained_ids=trained_ids)
    probe = Probe.of(Request(f"{len(gone)} ids", gone), samples, fresh, task, seed=seed)
    reference = None
    if folder is not None:
        reference = oracles_in(folder, architecture=design, task=task, trained_ids=trained_ids - set(gone),
                               beside=[model])  # fmt: skip
        count = len(reference)
    relearn = options["relearn"] and (folder is None or earlier is not None)
    game = None
    if way is not None:
        game = Game.of(way, name, samples, len(gone), options["models"] or MODELS, seed)._replace(decides=False)
    steps, first = Steps(), 1000 * (seed + 1)
    if relearn:
        refuse_untrainable(model, task, probe)
    if reference is None or game is not None:
        choose(design, samples, task, range(min(count, CHUNK)), steps.say)
    with kept_beside(out, steps.say) as kept:
        refuse_used(out)  # again: whoever was here before has finished
        judging = judging_seconds(model, probe, count, suite, relearn)
        alike = Foreign(model.network, task, trained_ids, method=design)  # as if it had been trained here
        work = Work(Trainings(design, samples, task, kept / design.source[:16], steps.say), steps, gone=gone,
                    seeds=range(first + 1, first + 1 + count) if reference is None else (),
                    control=first if reference is None and earlier is None else None, judging=judging, game=game,
                    unlearning=game.seconds(alike, samples) if game else 0.0)  # fmt: skip
        announced = work.announce(f"{count} oracles{'' if folder is None else ' that were given'}", suite, begin)
        if reference is None:
            reference = work.oracles()
        control = work.control() if earlier is None and folder is None else earlier
        with steps.step("judging", about=judging):
            seen = probe.look([control]) if relearn and control is not None else None
            subjects = [Subject(name="this model", model=model, oracles=reference, before=seen, untouched=control,
                                stand_in=earlier is None, note=RECIPE if folder is None else "",
                                unlearner=way)]  # fmt: skip
            if control is not None:
                note = "The weights from before the erasure" if earlier is not None else "Trained here on everything"
                subjects.append(Subject(name="do nothing", model=control, oracles=reference, before=seen,
                                        untouched=control, role="untouched",
                                        note=f"{note}: the alarm must ring."))  # fmt: skip
            file = Path(options["model"]).name
            section = judge(subjects, probe, title=f"{len(gone)} samples erased from {file}", seed=seed, suite=suite)
        section = work.played(section)
        cautions = [*_doubts(section.rows[0]), *section.cautions, WORD, *([GIVEN] if folder is not None else [])]
        if suite != "quick" and count < 3:
            cautions.append(TOO_FEW.format(count))
        if suite == "full":
            cautions.append(NOT_PLAYED if game is None else PLAYED.format(name))
        if absent := len(trained_ids.difference(samples.ids)):
            cautions.append(f"{absent} ids of the manifest are not in the data: nothing was asked about them.")
        digests = {**section.digests, "weights": weights_digest(model.network)}
        section = section.model_copy(update={"cautions": tuple(cautions), "digests": digests})
        with steps.step("writing the report", about=0.5):
            made = compile_report([section], title=f"Audit of {file}", show_samples=options["show_samples"],
                                  suite=suite, command=repeating(command(options)))  # fmt: skip
            write_report(out, made)
    seconds = time.perf_counter() - begin
    row = section.rows[0]
    words = [section.verdict, f"this model: {row.verdict}", *section.cautions,
             f"It took {duration(seconds)}; about {duration(announced)} had been announced.",
             str(out / "report.html")]  # fmt: skip
    facts = {"report": str(out / "report.html"), "json": str(out / "report.json"), "verdict": section.verdict,
             "status": row.status, "control": section.rows[1].status if control is not None else None,
             "oracles": count, "cautions": list(section.cautions), "seconds": round(seconds, 2),
             "announced_seconds": round(announced, 2)}  # fmt: skip
    result("\n".join(words), facts, options["as_json"])


def _way(options: Mapping[str, Any]) -> Way:
    """The unlearner to play the game with, and what it is called; None without one."""
    text = options["unlearner"]
    for name in ("unlearner", "models"):
        if options[name] is not None and (options["suite"] != "full" or text is None):
            raise SettingsError(f"{flag(name)} {options[name]} with --suite {options['suite']}"
                                f"{'' if text else ' and no --unlearner'}",
                                expected="it with --suite full and an --unlearner, for the unlearning game",
                                do="leave it out, or say how the model was made to forget")  # fmt: skip
    if text == AUTO:
        raise SettingsError(f"--unlearner {AUTO} with --model", expected="how the model was made to forget",
                            do="name that unlearner")  # fmt: skip
    return Way("", None) if text is None else Way.of(text)


def _oracles(options: Mapping[str, Any], *, plays: bool) -> tuple[int, Path | None]:
    """How many to train, or the folder that they lie in. `plays`: models are trained for the unlearning game."""
    text = options["oracles"]
    if text is None or text == "train" or text.isdecimal():
        count = int(text) if text is not None and text.isdecimal() else ORACLES[options["suite"]]
        refuse_few(count)
        return count, None
    if not plays and (wrong := [each for each in names(RecipeOptions) if options[each] is not None]):
        raise SettingsError(f"{flag(wrong[0])} with oracles from '{text}'", expected="it where models are trained",
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


def _doubts(row: Row) -> list[str]:
    """Is this the right model for the data at all?"""
    kept = row.finding("retain accuracy")
    if kept is None or kept.null_mean is None or kept.value > kept.null_mean / 2:
        return []
    return [f"The model is right on {kept.value:.0f} % of the retained samples, the oracles on {kept.null_mean:.0f} %: "
            "before anything else, check that it was made for these data, the same order of classes, and inputs scaled "
            "to [-1, 1]."]  # fmt: skip
