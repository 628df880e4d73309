"""Someone else's model: a network that was not trained here, as something that the audit can look at.

    model   = Foreign.load("weights.safetensors", architecture="package.module:build", task=task, trained_ids=manifest)
    given   = oracles_in("oracles/", architecture=..., task=task, trained_ids=[ids without the erased ones])
    trained = oracles(Architecture(build="package.module:build"), data.without(erased), task, seeds=range(8))

`build` gives the network without its weights. It is called as build(shape, classes) where it takes these, else as
build(). What it gives reads the batches of the task (classification: inputs scaled to [-1, 1] from their nominal range)
and answers with logits. Nobody can look into weights and see what they were fitted on: `trained_ids`, the training
manifest, is the word of whoever trained the model, and all that is said about members rests on it.

Weights are read from safetensors files only. A file for `torch.load` is a pickle, which runs the code that is in it.
"""

import hashlib
import importlib
import inspect
import shlex
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from erasable._plumbing.seeds import seeded
from erasable.dataset import Dataset
from erasable.errors import (
    BatchStatistics,
    EvidenceError,
    InvalidData,
    MismatchError,
    MissingFile,
    PopulationTooSmall,
    SettingsError,
    TaskMismatch,
    UnknownName,
    UnknownSample,
)
from erasable.memory import Memory
from erasable.population import Population, train_members
from erasable.receipt import Exposure
from erasable.task import LogitTask, Task
from erasable.train import Progress, Recipe, Supervised, fit
from erasable.unlearner import weights_digest

Build = Callable[..., nn.Module]
ENDING = ".safetensors"
REFUSED = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle")
PICKLE, ZIP = b"\x80", b"PK\x03\x04"  # first bytes of what torch.save writes now and wrote before 1.6
TRIED = 16  # samples that a network is tried on


class Foreign(nn.Module):
    """A network with the task it is for and the samples it was trained on; it is frozen and put into eval mode.

    `method` is there for networks that an Architecture trained here; how others came to be, nobody knows.
    """

    memory: Memory | None = None
    method: "Architecture"

    def __init__(
        self, network: nn.Module, task: Task, trained_ids: Iterable[str], *, name: str = "network",
        method: "Architecture | None" = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.network = network.requires_grad_(False)
        self.task, self.name = task, name
        if method is not None:
            self.method = method
        ids = frozenset([trained_ids] if isinstance(trained_ids, str) else trained_ids)
        self.exposure = Exposure.trained({"network": ids}, ids, task)
        self.eval()

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.network(*inputs)  # type: ignore[no-any-return]

    @classmethod
    def load(
        cls, weights: Path | str, *, architecture: "str | Build | Architecture", task: Task, trained_ids: Iterable[str]
    ) -> "Foreign":
        """Every name in the file must be one of the network's, and the reverse, in the same shape.

        Raises MissingFile, InvalidData for a file that is no safetensors file or holds NaN, MismatchError for weights
        of another network, and what `Architecture.network` raises.
        """
        file = Path(weights).expanduser()
        tensors = read_weights(file)
        shape = architecture if isinstance(architecture, Architecture) else Architecture(build=architecture)
        with seeded(0, "foreign"):  # initial weights, which are replaced: not from anyone else's random numbers
            network = shape.network(task)
        _fill(network, tensors, file.name, shape.called)
        return cls(network, task, trained_ids, name=file.stem)

    def check(self, data: Dataset) -> None:
        """Try the network on a few samples. Raises TaskMismatch: it cannot read them, or its answers are no logits."""
        self.task.check(data)
        batch = self.task.batch(data, torch.arange(min(TRIED, len(data))))
        task, answers = self.task, isinstance(self.task, LogitTask)
        with torch.inference_mode():
            try:
                out = task.logits(self, batch) if isinstance(task, LogitTask) else task.losses(self, batch)
            except Exception as wrong:  # a stranger's code may raise anything
                raise TaskMismatch(f"'{self.name}' cannot read '{data.name}' ({type(wrong).__name__}: {wrong})",
                                   expected=f"a network for {_shapes(batch)}",
                                   do="choose the data that it was made for, or correct build") from wrong  # fmt: skip
        size = len(next(iter(batch.values())))
        wanted = (size, task.classes) if isinstance(task, LogitTask) else (size,)
        if not isinstance(out, Tensor) or tuple(out.shape) != wanted:
            came = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
            raise TaskMismatch(f"'{self.name}' answers {size} samples with {came}", expected=f"logits {wanted}",
                               do="let build return a network with one output per class")  # fmt: skip
        if bool(torch.isnan(out).any()):
            raise InvalidData(
                f"'{self.name}' answers with NaN", expected="numbers", do="look for weights that diverged"
            )
        if answers and bool((out >= 0).all()) and torch.allclose(out.sum(1), out.new_ones(size), atol=1e-3):
            raise TaskMismatch(f"'{self.name}' answers with probabilities", expected="logits, or the logarithms of "
                               "probabilities", do="leave the softmax out of build, or take the logarithm")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A Method: networks of somebody's own design, trained from scratch by the task's own losses.

    build       "package.module:build", which is imported, or the function itself
    sequential  train one after another; None finds out by one step whether members can be trained as one
    """

    build: str | Build
    recipe: Recipe = field(default_factory=Recipe)
    sequential: bool | None = None
    needs_data: ClassVar[bool] = False

    @property
    def source(self) -> str:
        """SHA-256 of the module that `build` is in: another one, another design, whatever its name."""
        build = _found(self.build) if isinstance(self.build, str) else self.build
        file = getattr(inspect.getmodule(build), "__file__", None)
        return hashlib.sha256(b"" if file is None else Path(file).read_bytes()).hexdigest()

    @property
    def called(self) -> str:
        return self.build if isinstance(self.build, str) else getattr(self.build, "__qualname__", "build")

    def network(self, task: Task) -> nn.Module:
        """A fresh network. Raises UnknownName, SettingsError where it cannot be built, TaskMismatch for no network."""
        build = _found(self.build) if isinstance(self.build, str) else self.build
        try:
            made = build(*_arguments(build, task))
        except Exception as wrong:  # a stranger's code may raise anything
            raise SettingsError(f"'{self.called}' failed ({type(wrong).__name__}: {wrong})",
                                expected="build(), or build(shape, classes), that returns the network",
                                do="correct it") from wrong  # fmt: skip
        if not isinstance(made, nn.Module):
            raise TaskMismatch(f"'{self.called}' returned {type(made).__name__}", expected="a torch.nn.Module",
                               do="return the network")  # fmt: skip
        return made

    def train(
        self, data: Dataset, task: Task, *, seeds: Sequence[int], progress: Progress | None = None
    ) -> list[Foreign]:
        """Raises what `train.fit` raises."""
        return self.train_subsets(data, task, seeds=seeds, subsets=None, progress=progress)

    def train_subsets(
        self, data: Dataset, task: Task, *, seeds: Sequence[int], subsets: Tensor | None,
        progress: Progress | None = None,
    ) -> list[Foreign]:  # fmt: skip
        """Member i on the samples at positions `subsets[i]` (members, m) alone; all on all of them when None."""
        objective = Supervised(lambda: self.network(task), task)
        alone = self.sequential if self.sequential is not None else len(seeds) > 1 and not self._as_one(objective, data)
        trained = train_members(objective, data, self.recipe, seeds=seeds, subsets=subsets, sequential=alone,
                                progress=progress)  # fmt: skip
        return [Foreign(network, task, data.ids if subsets is None else data.take(subsets[i]).ids,
                        name=f"seed {seeds[i]}", method=self) for i, (network, _) in enumerate(trained)]  # fmt: skip

    def _as_one(self, objective: Supervised, data: Dataset) -> bool:
        """Does one step of two members go through? Somebody's forward pass may do what cannot be vectorised."""
        try:
            fit(
                objective,
                data.take(np.arange(min(2, len(data)))),
                replace(self.recipe, epochs=1, batch=2),
                seeds=[0, 1],
            )
        except (BatchStatistics, RuntimeError):
            return False
        return True

    def restore(self, task: Task, weights: dict[str, Tensor], memory: Memory | None, exposure: Exposure) -> Foreign:
        """The model whose state_dict is `weights`."""
        with seeded(0, "restore"):
            model = Foreign(self.network(task), task, exposure.parts["network"], method=self)
        model.exposure = exposure
        model.load_state_dict(weights)
        return model


def oracles_in(
    folder: Path | str,
    *,
    architecture: str | Build | Architecture,
    task: Task,
    trained_ids: Iterable[str],
    beside: Sequence[Foreign] = (),
) -> Population:
    """The models of all safetensors files in a folder, in the order of their names, as a population of oracles.

    trained_ids  what all of them were trained on: the manifest without the erased samples
    beside       models that are judged by them, and so cannot be among them

    Raises MissingFile, PopulationTooSmall for fewer than two, EvidenceError for a model that is there twice, or is one
    of `beside`; and what `Foreign.load` raises.
    """
    place = Path(folder).expanduser()
    if not place.is_dir():
        raise MissingFile(f"'{place}' is no folder", expected="a folder with the weights of two or more oracles",
                          do="check the path, or let them be trained")  # fmt: skip
    files = sorted(each for each in place.iterdir() if each.suffix.lower() == ENDING)
    if len(files) < 2:
        for each in sorted(place.iterdir()):
            if each.suffix.lower() in REFUSED:
                raise _refused(each)
        raise PopulationTooSmall(f"{len(files)} {ENDING} files in '{place}'", expected="at least 2 oracles",
                                 do="add more: one model hides seed noise")  # fmt: skip
    ids = frozenset(trained_ids)
    seen = {weights_digest(each.network): each.name for each in beside}
    judged, models = set(seen), []
    for file in files:
        model = Foreign.load(file, architecture=architecture, task=task, trained_ids=ids)
        digest = weights_digest(model.network)
        if digest in seen:
            what = "the model that is judged" if digest in judged else f"the oracle '{seen[digest]}'"
            raise EvidenceError(f"the oracle '{model.name}' has the weights of {what}",
                                expected="models that were trained apart from each other",
                                do=f"remove '{file}' or put another model in its place")  # fmt: skip
        seen[digest] = model.name
        models.append(model)
    return Population(tuple(models), (), "oracle")


def refuse_untrained(ids: Iterable[str], manifest: Collection[str]) -> None:
    """Raises UnknownSample for ids that the model was never trained on: there is nothing that it could forget."""
    known, asked = frozenset(manifest), list(ids)
    if absent := [each for each in asked if each not in known]:
        raise UnknownSample(f"{len(absent)} of {len(asked)} ids to forget are not in the training manifest, first "
                            f"'{absent[0]}'", expected="samples that the model was trained on",
                            do="correct the ids, or give the manifest that the model was trained with")  # fmt: skip


# --- weights ----------------------------------------------------------------------------------------------------------


def read_weights(file: Path) -> dict[str, Tensor]:
    """Tensors by name. Raises MissingFile, InvalidData: a file for torch.load, a damaged one, NaN."""
    if not file.is_file():
        raise MissingFile(f"'{file}' is no file", expected="weights in a safetensors file", do="check the path")
    with open(file, "rb") as opened:
        start = opened.read(9)
    length = int.from_bytes(start[:8], "little")
    headed = start[8:] == b"{" and length <= file.stat().st_size - 8  # a header of 640 bytes begins as a pickle does
    if file.suffix.lower() in REFUSED or (start.startswith((PICKLE, ZIP)) and not headed):
        raise _refused(file)
    try:
        tensors = dict(safetensors.torch.load(file.read_bytes()))
    except (safetensors.SafetensorError, OSError, KeyError, ValueError, AssertionError) as wrong:
        raise InvalidData(f"'{file}' is no safetensors file ({wrong})", expected="weights, complete and as written",
                          do="save them again with safetensors.torch.save_file") from wrong  # fmt: skip
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor.float()).all()):
            raise InvalidData(f"'{name}' in '{file}' holds NaN or infinity", expected="finite weights",
                              do="look for a training that diverged")  # fmt: skip
    return tensors


def _refused(file: Path) -> InvalidData:
    """What to tell about a file for torch.load, with the conversion for its owner to run."""
    script = (
        f"import torch, safetensors.torch; w = torch.load({str(file)!r}, map_location='cpu', weights_only=True); "
        "safetensors.torch.save_file({k: v.clone().contiguous() for k, v in w.get('state_dict', w).items()}, "
        f"{str(file.with_suffix(ENDING))!r})"
    )
    return InvalidData(f"'{file}' is a file for torch.load, a pickle, which can run any code that somebody put into it",
                       expected="a safetensors file, which holds tensors and nothing else",
                       do=f"have its owner convert it: python -c {shlex.quote(script)}")  # fmt: skip


def _fill(network: nn.Module, tensors: Mapping[str, Tensor], file: str, architecture: str) -> None:
    """Load all weights, or raise MismatchError and change nothing."""
    wanted = network.state_dict()
    # names that share memory (tied weights) may be stored once
    places = {wanted[name].data_ptr() for name in tensors if name in wanted and wanted[name].numel()}
    missing = [name for name in wanted if name not in tensors and wanted[name].data_ptr() not in places]
    unexpected = sorted(name for name in tensors if name not in wanted)
    other = [name for name in wanted if name in tensors and _kind(tensors[name]) != _kind(wanted[name])]
    if not (missing or unexpected or other):
        network.load_state_dict(tensors, strict=False)
        return
    told = [f"{len(names)} {what} (first '{names[0]}')"
            for names, what in ((missing, "missing"), (unexpected, "unexpected")) if names]  # fmt: skip
    if other:
        first = other[0]
        told.append(f"{len(other)} of another shape (first '{first}', {_kind(tensors[first])} instead of "
                    f"{_kind(wanted[first])})")  # fmt: skip
    raise MismatchError(f"the weights in '{file}' are not those of '{architecture}': {', '.join(told)}",
                        expected=f"exactly its {len(wanted)} tensors", do=_remedy(wanted, tensors))  # fmt: skip


def _kind(tensor: Tensor) -> str:
    """Shape, and whether these are fractions: half precision fits, integers of a quantised model do not."""
    return f"{tuple(tensor.shape)}" + (
        "" if tensor.is_floating_point() else f" {str(tensor.dtype).removeprefix('torch.')}"
    )


def _remedy(wanted: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> str:
    prefix = next(iter(tensors), "").partition(".")[0] + "."
    if all(name.startswith(prefix) for name in tensors) and {name[len(prefix) :] for name in tensors} == set(wanted):
        return f"save them again without the prefix '{prefix}' of their names"
    return "name the architecture that they were saved from, or save the state_dict of this one"


# --- architectures ----------------------------------------------------------------------------------------------------


def _found(name: str) -> Build:
    """Raises UnknownName."""
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise UnknownName(f"architecture '{name}'", expected="package.module:build", do="name a module and a function")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as wrong:
        raise UnknownName(f"architecture '{name}' cannot be imported ({wrong})", expected="package.module:build",
                          do="check the spelling, the current folder and PYTHONPATH") from None  # fmt: skip
    if not callable(found):
        raise UnknownName(f"architecture '{name}' is {type(found).__name__}", expected="a function that builds it",
                          do="name such a one")  # fmt: skip
    return found  # type: ignore[no-any-return]


def _arguments(build: Build, task: Task) -> tuple[object, ...]:
    """(shape, classes) for a function that takes parameters of these names, or needs two; else nothing."""
    taken = [each for each in inspect.signature(build).parameters.values()
             if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]  # fmt: skip
    needed = [each for each in taken if each.default is each.empty]
    if [each.name for each in taken[:2]] == ["shape", "classes"] or len(needed) == 2:
        return getattr(task, "shape", None), getattr(task, "classes", None)
    return ()


def _shapes(batch: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{name} {tuple(each.shape)}" for name, each in batch.items())
