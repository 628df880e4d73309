"""The whole story once, on data that come along: train, erase, audit, report.

1,438 handwritten digits with made-up owners. Two requests, each on its own: everything of one owner, and every picture
of one digit. Each is carried out in nine ways, and each result is judged beside models of its own kind that never saw
the pictures. SPM with the public encoder lives in run folders, so its receipts come from durable erasures.
"""

import copy
import secrets
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from erasable import __version__
from erasable._plumbing import storage
from erasable._plumbing.progress import Steps, duration
from erasable.audit import Subject, compile_report, judge
from erasable.dataset import Dataset
from erasable.errors import StorageError
from erasable.forgettable.munkey import MUNKEY
from erasable.forgettable.sisa import SISA
from erasable.forgettable.spm import SPM
from erasable.network import Network
from erasable.population import Population, oracles
from erasable.probe import Probe
from erasable.receipt import Level
from erasable.report import Report, Role, Section
from erasable.request import Request
from erasable.run import Run
from erasable.source import Source
from erasable.tasks.classification import Classification
from erasable.train import Recipe
from erasable.unlearner import Unlearner, forget
from erasable.unlearners import FineTune, GradientAscent, Nothing, Retrain

MARK = "demo.json"  # says that a folder was made here and may be replaced
CONTENTS = frozenset({MARK, "report.html", "report.json", "report.md", "run-owner", "run-digit"})
DIGIT = 8
PUBLIC = 450  # pictures that nobody can ask to erase


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is trained."""

    oracles: int = 16
    epochs: int = 20
    slow_epochs: int = 10  # of MUNKEY, whose epochs take longer


FULL = Size()
QUICK = Size(oracles=2, epochs=2, slow_epochs=1)


@dataclass(frozen=True)
class Kind:
    """A way to make models; `seconds` that one takes per epoch on one core, and how many `more` each further one."""

    method: Any
    seconds: float
    more: float


@dataclass(frozen=True)
class Way:
    """A row of the report."""

    name: str
    kind: str
    unlearner: Unlearner[Any] | None = None
    role: Role = "method"
    note: str = ""


def kinds(size: Size) -> dict[str, Kind]:
    """The models of the demo, by name."""
    network, recipe = "mlp width=64 depth=2", Recipe(epochs=size.epochs)
    slow = Recipe(epochs=size.slow_epochs, lr=3e-3)
    vit: dict[str, Any] = {"network": "vit patch=4 width=32 depth=1 heads=2 stem=16", "value_width": 32, "recipe": slow}
    return {
        "network": Kind(Network(network=network, recipe=recipe), 0.015, 0.003),
        "SPM": Kind(SPM(network=network, recipe=recipe), 0.025, 0.009),
        "SPM with public encoder": Kind(
            SPM(network=network, encoder="public", similarity="covariance", recipe=recipe), 0.01, 0.003
        ),
        "MUNKEY": Kind(MUNKEY(**vit, keys="pixels"), 0.1, 0.045),
        "MUNKEY in two phases": Kind(
            MUNKEY(**(vit | {"recipe": replace(slow, epochs=2 * size.slow_epochs)}), phases=2, value_steps=12),
            0.07,
            0.04,
        ),
        "SISA": Kind(SISA(network=network, shards=3, recipe=recipe), 0.01, 0.004),
    }


WAYS = (
    Way("Do nothing", "network", Nothing(), "untouched"),
    Way("Retrain", "network", Retrain(), "retrain"),
    Way("Fine-tune", "network", FineTune()),
    Way("Gradient ascent", "network", GradientAscent()),
    Way("SPM", "SPM", note="The encoder was trained on everybody."),
    Way(
        "SPM (public encoder)",
        "SPM with public encoder",
        note="The encoder has seen pictures only that nobody can ask to erase.",
    ),
    Way("MUNKEY", "MUNKEY", note="One phase: the network was trained on everybody."),
    Way(
        "MUNKEY (two phases)",
        "MUNKEY in two phases",
        note="The network has seen the public part only, then was frozen.",
    ),
    Way("SISA", "SISA", note="Three shards: the request trains those of its samples again."),
)


@dataclass(frozen=True)
class Demo:
    """What was made, and where."""

    folder: Path
    report: Report
    owner: str
    seconds: float

    def words(self) -> str:
        place = self.folder
        return "\n".join([
            *(f"{each.title}: {each.verdict}" for each in self.report.sections),
            "",
            f"Done in {duration(self.seconds)}. The report: {place / 'report.html'}",
            "",
            "Next, with what this left behind:",
            f"  erasable forget {place / 'run-owner'} --label 3 --dry-run    # what would be erased, what not",
            f"  erasable forget {place / 'run-owner'} --label 3              # erase it, durably",
            f"  erasable audit {place / 'run-owner'}                         # is anything left?",
            "Or with models and data of your own:",
            "  erasable ls",
            "  erasable train --help",
        ])  # fmt: skip

    def facts(self) -> dict[str, Any]:
        sections = [
            {"title": each.title, "verdict": each.verdict, "erased": each.erased,
             "rows": [{"name": row.name, "level": row.level, "status": row.status} for row in each.rows]}
            for each in self.report.sections
        ]  # fmt: skip
        return {"folder": str(self.folder), "report": str(self.folder / "report.html"), "owner": self.owner,
                "seconds": round(self.seconds, 2), "sections": sections}  # fmt: skip


def run(out: Path, *, seed: int = 0, size: Size = FULL, steps: Steps | None = None) -> Demo:
    """Do everything and write it to `out`, as a whole or not at all.

    Raises StorageError for a folder that was not made here.
    """
    _refuse_foreign(out)
    storage.sweep_unfinished(out.absolute())
    target = out.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = target.with_name(f".{target.name}.{secrets.token_hex(4)}{storage.TEMPORARY}")
    with storage.translated(target), _one_thread():
        folder.mkdir()
        try:
            with storage.locked(folder):
                demo = _Demo(folder, seed, size, steps or Steps()).run()
                _replace(folder, target)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    return Demo(out, *demo)


@contextmanager
def _one_thread() -> Iterator[None]:
    """For networks this small, several threads mostly wait for each other; the more so on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _refuse_foreign(out: Path) -> None:
    if out.is_dir():
        inside = {each.name for each in out.iterdir()}
        if not inside or (MARK in inside and inside <= CONTENTS):
            return
    elif not out.exists():
        return
    raise StorageError(f"'{out}' is there and was not made by an earlier demo, or holds more than that",
                       expected="a new path, an empty folder or an earlier demo",
                       do="choose another folder with --out")  # fmt: skip


def _replace(folder: Path, target: Path) -> None:
    """Put the new folder in the place of the old one."""
    old = target.with_name(f".{target.name}.{secrets.token_hex(4)}{storage.TEMPORARY}")
    if target.exists():
        target.rename(old)
    folder.rename(target)
    shutil.rmtree(old, ignore_errors=True)


class _Demo:
    """One pass. Models that both requests start from are trained once."""

    def __init__(self, folder: Path, seed: int, size: Size, steps: Steps) -> None:
        self.folder, self.seed, self.size, self.steps = folder, seed, size, steps
        self.start = time.perf_counter()
        self.kinds = kinds(size)
        self.models: dict[str, tuple[Any, float]] = {}  # with the seconds of training

    def run(self) -> tuple[Report, str, float]:
        sources = (Source.of("digits", public=PUBLIC), Source.of("digits", public=PUBLIC, public_without=[DIGIT]))
        self.steps.expected = self._expected()
        with self.steps.step("Reading the digits", about=2.0):
            data, without_digit = (each.train() for each in sources)
            test = sources[0].test()
            task = Classification.of(data)
            self._warm_up(data, task)
        owner = _owner(data)
        self.models = {
            name: self._train(name, data, task)
            for name in ("network", "SPM", "SPM with public encoder", "MUNKEY", "MUNKEY in two phases", "SISA")
        }
        sections = [self._section("Everything of one owner", "owner", data, test, task, sources[0], WAYS, owner=owner)]
        self.models["SPM with public encoder"] = self._train("SPM with public encoder", without_digit, task)
        ways = [
            each for each in WAYS if each.kind != "MUNKEY in two phases"
        ]  # its network would not know the digit at all
        sections.append(self._section(f"Every picture of the digit {DIGIT}", "digit", without_digit, test, task,
                                      sources[1], ways, label=DIGIT))  # fmt: skip
        report = compile_report(sections, title="Erasable: what is left after forgetting", show_samples=True,
                                suite="standard", command=f"erasable demo --seed {self.seed}")  # fmt: skip
        for ending, text in (("json", report.to_json()), ("md", report.to_markdown()), ("html", report.to_html())):
            storage.atomic_write(self.folder / f"report.{ending}", text.encode())
        storage.write_json(self.folder / MARK, {"made_by": "erasable demo", "erasable_version": __version__, "seed":
                           self.seed, "created": datetime.now(UTC).isoformat(timespec="seconds")})  # fmt: skip
        return report, owner, time.perf_counter() - self.start

    # --- steps -------------------------------------------------------------------------------------------------------

    def _train(self, name: str, data: Dataset, task: Classification) -> tuple[Any, float]:
        with self.steps.step(f"Training {name}", about=self._cost(name, 1)) as told:
            start = time.perf_counter()
            model = self.kinds[name].method.train(data, task, seeds=[self.seed], progress=told)[0]
            return model, time.perf_counter() - start

    def _oracles(self, name: str, data: Dataset, task: Classification) -> Population:
        count, first = self.size.oracles, 1000 * (self.seed + 1)
        what = f"Training {count} models ({name}) that never see these samples"
        with self.steps.step(what, about=self._cost(name, count)) as told:
            return oracles(self.kinds[name].method, data, task, seeds=range(first, first + count), progress=told)

    def _section(
        self, title: str, what: str, data: Dataset, test: Dataset, task: Classification, source: Source,
        ways: Sequence[Way], **asked: Any,
    ) -> Section:  # fmt: skip
        """One request in all ways; `asked` is how Run.request is told whom to forget."""
        model, seconds = self.models["SPM with public encoder"]
        spec = {"source": source.spec(), "training": {"seed": self.seed, "seconds": round(seconds, 3)}}
        stored = Run.create(self.folder / f"run-{what}", copy.deepcopy(model), data=data, spec=spec)
        request = stored.request(f"demo-{what}", **asked)
        probe = Probe.of(request, data, test, task, seed=self.seed)
        kept = data.without(request.ids)
        populations = {kind: self._oracles(kind, kept, task) for kind in dict.fromkeys(way.kind for way in ways)}
        before = {kind: probe.look([self.models[kind][0]]) for kind in populations}
        subjects = []
        with self.steps.step(f"Erasing {len(request.ids)} samples in {len(ways)} ways", about=0.7) as told:
            for done, way in enumerate(ways):
                told(done, len(ways))
                subjects.append(self._subject(way, stored, request, data, populations[way.kind], before[way.kind]))
        with self.steps.step("Judging what is left", about=self._judging()):
            return judge(subjects, probe, title=f"{title}: {len(request.ids)} samples", seed=self.seed,
                         suite="standard")  # fmt: skip

    def _subject(
        self, way: Way, stored: Run, request: Request, data: Dataset, reference: Population, before: Any
    ) -> Subject:
        model, preparation = self.models[way.kind]
        if way.kind == "SPM with public encoder":
            receipt = stored.forget(request)
            result = stored.model
        else:
            start = model if way.unlearner is not None else copy.deepcopy(model)
            result, receipt = forget(start, request, data=data, unlearner=way.unlearner, seed=self.seed + 1)
        level: Level = receipt.level
        return Subject(name=way.name, model=result, oracles=reference, before=before, receipt=receipt, level=level,
                       seconds=receipt.seconds, preparation_seconds=preparation, role=way.role,
                       note=way.note)  # fmt: skip

    def _warm_up(self, data: Dataset, task: Classification) -> None:
        """The first training step loads what the later ones use; no row should pay for that."""
        Network(network="mlp width=8", recipe=Recipe(epochs=1)).train(data.take(data.rows[:64]), task, seeds=[0, 1])

    # --- how long ----------------------------------------------------------------------------------------------------

    def _cost(self, name: str, members: int) -> float:
        kind = self.kinds[name]
        return float(kind.method.recipe.epochs * (kind.seconds + kind.more * (members - 1)))

    def _judging(self) -> float:
        return 1.0 + 0.1 * self.size.oracles

    def _expected(self) -> float:
        first = [*self.kinds]
        second = [each for each in first if each != "MUNKEY in two phases"]
        models = sum(self._cost(each, 1) for each in [*first, "SPM with public encoder"])
        populations = sum(self._cost(each, self.size.oracles) for each in [*first, *second])
        return 2.0 + models + populations + 2 * (0.7 + self._judging())


def _owner(data: Dataset) -> str:
    """The one with the most samples among those who have not made theirs public."""
    public, sizes = set(data.public.owners or ()), Counter(data.owners or ())
    return next(name for name, _ in sizes.most_common() if name not in public)
