"""A run: a trained model in a folder, with what its erasures need and the receipts of those that were done.

    manifest.json             how the model came to be; written once, never changed
    model-0000.safetensors    the weights; another generation replaces them when an erasure changes weights
    memory.sqlite             the truth about all that changes: rows, samples, receipts, generation, digests
    receipts/0001.json        views of the receipts in memory.sqlite, written again when they are missing
    reports/                  what audits leave here

`Run.create` writes all of it or nothing. `forget` erases in RAM, then in one SQLite transaction, then empties the
journal, removes the old weights and searches every file for the erased bytes; only then the receipt says L2. A kill at
any moment leaves the old or the new state, and `Run.open` finishes what was begun. The ids of erased samples stay, as
tombstones that stop a second erasure and a silent return; their rows, owners, labels and content hashes do not.
"""

import json
import platform
import secrets
import shutil
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydantic
import safetensors
import torch

from erasable import __version__
from erasable._plumbing import epilogue, residue, samples, settings, storage
from erasable._plumbing.epilogue import DATABASE, RECEIPTS, weights_name
from erasable.dataset import Dataset
from erasable.errors import (
    CorruptRun,
    EmptyRequest,
    MismatchError,
    NewerVersion,
    RequestError,
    SettingsError,
    StorageError,
    UnknownName,
    nearest_names,
)
from erasable.memory import Memory
from erasable.receipt import Exposure, Receipt
from erasable.request import Request
from erasable.unlearner import Trained, Unlearner, weights_digest
from erasable.unlearner import forget as forget_in_ram

SCHEMA_VERSION = 1
MANIFEST, REPORTS = "manifest.json", "reports"
SECTIONS = ("method", "task", "data", "exposure", "model", "memory", "libraries")
STATE = {
    "sequence": int,  # erasures so far
    "generation": int,  # of the weights, with the digest of the file and of the tensors in it
    "model_sha256": str,
    "weights_digest": str,
    "has_memory": bool,
    "parts": list,  # of the exposure, in the order of the bits in `samples.fitted`
    "salt": str,  # of the content hashes
}
"""What every run states. Newer ones state `mended` too, a list of parts of the exposure; without it there are none."""


class Run:
    """A run folder that is open. Make one with `Run.create` or `Run.open`.

    `manifest` is the content of manifest.json. Several processes may open a run; when one has erased, the others are
    told to open it again before they erase.
    """

    def __init__(self, path: Path, manifest: Mapping[str, Any], method: type[Any], task: type[Any]) -> None:
        self.path, self.manifest = path, manifest
        self._method, self._task = method, task
        self._loaded: _Loaded | None = None  # what the model is restored from
        self._model: Any = None
        self._sequence = 0  # erasures that the model in RAM has seen

    def __repr__(self) -> str:
        return f"Run('{self.path}', {self.manifest['method']['name']}, {self._sequence} erasures)"

    # --- making and opening ----------------------------------------------------------------------------------------

    @classmethod
    def create(cls, path: Path | str, model: Trained, *, data: Dataset, spec: Mapping[str, Any]) -> "Run":
        """Store a trained model. `data` is what it was trained on; `spec`, JSON, says how to load that again.

        The run keeps `model` itself: an erasure changes it in place.
        Raises StorageError for a path in use, DiskFull, SettingsError for a spec that is no JSON.
        """
        target = Path(path).absolute()
        with storage.translated(target):
            if target.exists() and not (target.is_dir() and not any(target.iterdir())):
                raise StorageError(f"'{target}' is in use", expected="a new path or an empty folder",
                                   do="choose another path, or remove what is there")  # fmt: skip
            manifest = _manifest(model, data, spec)
            target.parent.mkdir(parents=True, exist_ok=True)
            storage.sweep_unfinished(target)
            folder = target.with_name(f".{target.name}.{secrets.token_hex(4)}{storage.TEMPORARY}")
            folder.mkdir()
            try:
                with storage.locked(folder):  # tells others that this is no leftover
                    _write(folder, manifest, model, data)
                    folder.rename(target)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            storage.sync_folder(target.parent)
        run = cls(target, manifest, type(model.method), type(model.task))
        run._model = model
        return run

    @classmethod
    def open(cls, path: Path | str, *, method: type[Any] | None = None, task: type[Any] | None = None) -> "Run":
        """Read and check a run folder, and finish what a kill interrupted.

        `method` and `task` are the classes of a run whose names are not in the catalog. What a folder says is never
        imported: it could name anything.
        Raises CorruptRun for missing, damaged or inconsistent files, NewerVersion, UnknownName, StorageError.
        """
        folder = Path(path).absolute()
        if folder.parent.is_dir():
            storage.sweep_unfinished(folder)
        manifest = _read_manifest(folder)
        run = cls(folder, manifest, _class_of("method", manifest, method), _class_of("task", manifest, task))
        run._load()
        return run

    def _load(self) -> None:
        stored = self.manifest
        method = settings.from_json(self._method, stored["method"].get("settings"), "the run's method")
        task = settings.from_json(self._task, stored["task"].get("settings"), "the run's task")
        with storage.locked(self.path), storage.opened(self._database) as connection:
            if (health := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
                raise CorruptRun(f"'{self._database}' is damaged ({health})", expected="the file as it was written",
                                 do="restore the run folder from a backup")  # fmt: skip
            state = storage.read_state(connection, self._database, STATE)
            file = self.path / weights_name(state["generation"])
            weights = storage.load_tensors(file, sha256=state["model_sha256"])
            memory = Memory.read(connection, self._database) if state["has_memory"] else None
            exposure = samples.read_exposure(connection, state["parts"], state.get("mended", ()))
            if memory is not None:
                memory.forgotten.update(samples.erased(connection))
            epilogue.recover(self.path, connection, memory, state["generation"])
        self._loaded = _Loaded(method, task, weights, memory, exposure)
        self._model, self._sequence = None, state["sequence"]

    # --- looking ---------------------------------------------------------------------------------------------------

    @property
    def _database(self) -> Path:
        return self.path / DATABASE

    @property
    def model(self) -> Any:
        """The trained model, restored when first asked for."""
        if self._model is None:
            if self._loaded is None:
                self._load()
            assert self._loaded is not None
            self._model, self._loaded = self._loaded.restore(), None
        return self._model

    @property
    def exposure(self) -> Exposure:
        """Which samples each part of the model was fitted on; erased ones that a part still knows are among them."""
        exposure: Exposure = (self._loaded or self.model).exposure
        return exposure

    @property
    def ids(self) -> tuple[str, ...]:
        """The samples that are still held."""
        with storage.opened(self._database) as connection:
            return tuple(samples.held(connection))

    @property
    def erased(self) -> dict[str, int]:
        """The samples that are not, with the number of the receipt; 0 for those erased before the run began."""
        with storage.opened(self._database) as connection:
            return samples.erased(connection)

    @property
    def receipts(self) -> tuple[Receipt, ...]:
        """One per erasure, the first one first."""
        with storage.opened(self._database) as connection:
            bodies = connection.execute("SELECT body FROM receipts ORDER BY number").fetchall()
        return tuple(epilogue.read_receipt(body, self._database) for (body,) in bodies)

    # --- erasing ---------------------------------------------------------------------------------------------------

    def request(
        self,
        case: str,
        *,
        ids: Iterable[str] | None = None,
        owner: str | None = None,
        label: int | None = None,
        data: Dataset | None = None,
        received: str | None = None,
    ) -> Request:
        """An erasure request for stored samples, by `ids`, by `owner` or by `label` (those of it that may be erased).

        `data`, when given, is compared with what the model was trained on. Nothing is changed.
        Raises UnknownSample, UnknownOwner, EmptyRequest, AlreadyForgotten, NotErasable, WrongDigest.
        """
        if sum(each is not None for each in (ids, owner, label)) != 1:
            raise SettingsError("a request by several of ids, owner and label, or by none", expected="exactly one",
                                do="name the samples in one way")  # fmt: skip
        with storage.opened(self._database) as connection:
            if owner is not None:
                names = samples.owned_by(connection, owner, self.path.name)
            elif label is not None:
                names = samples.labelled(connection, label)
            else:
                names = [ids] if isinstance(ids, str) else list(ids or ())
            if not names:
                raise EmptyRequest(f"request '{case}' names no samples", expected="at least one",
                                   do="pass ids, an owner or a label that exist")  # fmt: skip
            request = Request(case, names, received)
            samples.check(connection, request.ids, self.path.name)
        if data is not None:
            self._check_data(data, ())
        return request

    def _check_data(self, data: Dataset, leaving: Iterable[str]) -> Dataset:
        with storage.opened(self._database) as connection:
            salt = bytes.fromhex(storage.read_state(connection, self._database, STATE)["salt"])
            return samples.check_data(connection, data, leaving, self.manifest["data"]["spec"], salt)

    def forget(
        self, request: Request, *, data: Dataset | None = None, unlearner: Unlearner[Any] | None = None, seed: int = 0
    ) -> Receipt:
        """Erase a request from the model and from the folder, durably.

        `data` and `unlearner` as in `erasable.unlearner.forget`. The receipt says L2 when, afterwards, no file of the
        folder held the bytes of the erased rows (or, of changed weights, the old ones), and otherwise L1 with the
        reason. When anything is raised, the folder is as it was and so is `model`, which may have been loaded anew.

        Raises what `request` and `erasable.unlearner.forget` raise, DiskFull, and StorageError when another process
        erased meanwhile.
        """
        with storage.opened(self._database) as connection:
            samples.check(connection, request.ids, self.path.name)
        if data is not None:
            data = self._check_data(data, request.ids)
        model, exposure = self.model, self.model.exposure
        expected = "" if model.memory is None else model.memory.digest(without=request.ids)
        try:
            result, receipt = forget_in_ram(model, request, data=data, unlearner=unlearner, seed=seed)
        except (RequestError, MismatchError):  # refused, by contract before anything was changed
            raise
        except BaseException:
            self._drop()
            raise
        self._drop()  # until the transaction is through
        with storage.locked(self.path), storage.opened(self._database) as connection:
            try:
                with storage.transaction(connection):
                    number, generation, needles = self._commit(connection, request, receipt, result, exposure, expected)
            except BaseException:
                with suppress(StorageError, OSError, sqlite3.Error):  # what is left of it goes at the next opening
                    generation = storage.read_state(connection, self._database, STATE)["generation"]
                    epilogue.sweep(self.path, generation)
                raise
            self._model, self._sequence = result, number
            finder = residue.Needles(needles) if needles else None
            return epilogue.settle(self.path, connection, number, finder, result.memory, generation)

    def _commit(
        self, connection: sqlite3.Connection, request: Request, receipt: Receipt, result: Trained, before: Exposure,
        expected: str,
    ) -> tuple[int, int, list[bytes]]:  # fmt: skip
        """What one transaction writes: the number of the receipt, the generation, and what to search for.

        A kill, or an error, between the new weights file and the commit leaves a file that `sweep` removes.
        """
        state = storage.read_state(connection, self._database, STATE)
        if state["sequence"] != self._sequence:
            raise StorageError(f"'{self.path}' was changed by another process", expected="the state that was opened",
                               do="open the run again and repeat the request")  # fmt: skip
        number, generation = state["sequence"] + 1, state["generation"]
        needles = epilogue.needles_of_rows(connection, request.ids)
        facts: dict[str, Any] = {"sequence": number}
        if receipt.weights_after != state["weights_digest"]:
            old = storage.load_tensors(self.path / weights_name(generation), sha256=state["model_sha256"])
            needles += epilogue.needles_of_weights(old, result.state_dict())
            generation += 1
            digest = storage.save_tensors(self.path / weights_name(generation), result.state_dict())
            facts |= {"generation": generation, "model_sha256": digest, "weights_digest": receipt.weights_after}
        storage.delete_rows(connection, request.ids)
        if result.memory is not None:
            rows, facts["memory_digest"] = result.memory, receipt.memory_after
            stored = storage.read_state(connection, self._database, {"memory_digest": str})["memory_digest"]
            if (stored, expected) != (
                receipt.memory_before,
                receipt.memory_after,
            ):  # new rows, or keys of a new encoder
                storage.match_rows(connection, self._database, rows.ids, rows.labels, rows.keys, rows.values)
                samples.insert_missing(connection, rows.ids, result.exposure, state["parts"])
        if result.exposure is not before:
            facts["parts"] = samples.write_exposure(connection, before, result.exposure)
            facts["mended"] = sorted(result.exposure.mended)
        samples.erase(connection, request.ids, number)
        epilogue.store_receipt(connection, number, receipt)
        epilogue.remember(connection, number, needles)
        storage.write_state(connection, facts)
        return number, generation, needles

    def _drop(self) -> None:
        """Let go of a model that may be half erased; the folder has it as it was."""
        self._model = self._loaded = None


class _Loaded:
    """What a model is restored from."""

    def __init__(
        self, method: Any, task: Any, weights: dict[str, torch.Tensor], memory: Memory | None, exposure: Exposure
    ) -> None:
        self.method, self.task, self.weights, self.memory, self.exposure = method, task, weights, memory, exposure

    def restore(self) -> Any:
        return self.method.restore(self.task, self.weights, self.memory, self.exposure)


# --- the folder ----------------------------------------------------------------------------------------------------


def _manifest(model: Trained, data: Dataset, spec: Mapping[str, Any]) -> dict[str, Any]:
    from erasable import catalog

    try:
        json.dumps(spec, allow_nan=False)
    except (TypeError, ValueError) as wrong:
        raise SettingsError(f"a data spec that is no JSON ({wrong})", expected="text, numbers, lists and objects",
                            do="say in JSON how to load the data") from wrong  # fmt: skip
    memory = model.memory
    return {
        "schema_version": SCHEMA_VERSION,
        "erasable_version": __version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "method": {"name": catalog.name_of(model.method), "settings": settings.to_json(model.method)},
        "task": {"name": catalog.name_of(model.task), "settings": settings.to_json(model.task)},
        "data": {"spec": dict(spec), "name": data.name, "samples": len(data), "digest": data.digest()},
        "exposure": {part: len(model.exposure.parts[part]) for part in sorted(model.exposure.parts)},
        "model": {"file": weights_name(0)},
        "memory": memory and {"rows": len(memory), "key_width": memory.key_width, "value_width": memory.value_width},
        "libraries": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__,
                      "safetensors": safetensors.__version__, "pydantic": pydantic.VERSION,
                      "sqlite": sqlite3.sqlite_version},
    }  # fmt: skip


def _write(folder: Path, manifest: dict[str, Any], model: Trained, data: Dataset) -> None:
    for name in (RECEIPTS, REPORTS):
        (folder / name).mkdir()
    digest = storage.save_tensors(folder / weights_name(0), model.state_dict())
    manifest["model"]["sha256"] = digest
    salt, memory = secrets.token_bytes(16), model.memory
    facts: dict[str, Any] = {
        "sequence": 0,
        "generation": 0,
        "model_sha256": digest,
        "weights_digest": weights_digest(model),
        "has_memory": memory is not None,
        "salt": salt.hex(),
    }
    with storage.building(folder / DATABASE, samples.TABLE + epilogue.TABLES) as connection:
        facts["parts"] = samples.insert(connection, model, data, salt)
        facts["mended"] = sorted(model.exposure.mended)
        if memory is not None:
            facts |= {
                "key_width": memory.key_width,
                "value_width": memory.value_width,
                "memory_digest": memory.digest(),
            }
            storage.insert_rows(connection, memory.ids, memory.labels, memory.keys, memory.values)
        storage.write_state(connection, facts)
    storage.write_json(folder / MANIFEST, manifest)


def _read_manifest(folder: Path) -> dict[str, Any]:
    """Raises CorruptRun, NewerVersion."""
    if not (folder / MANIFEST).is_file():
        found = "has no manifest.json" if folder.is_dir() else "is no folder"
        raise CorruptRun(f"'{folder}' {found}", expected="a run folder",
                         do="check the path, or restore the folder from a backup")  # fmt: skip
    manifest = storage.read_json(folder / MANIFEST)
    version = manifest.get("schema_version") if isinstance(manifest, dict) else None
    if not isinstance(version, int):
        raise CorruptRun(f"'{folder / MANIFEST}' states no schema_version", expected="the manifest of a run",
                         do="check the path, or restore the folder from a backup")  # fmt: skip
    if version > SCHEMA_VERSION:
        raise NewerVersion(f"'{folder}' has the schema version {version}", expected=f"at most {SCHEMA_VERSION}",
                           do=f"use Erasable {manifest.get('erasable_version')} or later")  # fmt: skip
    if missing := [each for each in SECTIONS if each not in manifest]:
        raise CorruptRun(f"'{folder / MANIFEST}' lacks {', '.join(missing)}", expected="it as it was written",
                         do="restore the run folder from a backup")  # fmt: skip
    return dict(manifest)


def _class_of(what: Literal["method", "task"], manifest: Mapping[str, Any], given: type[Any] | None) -> type[Any]:
    """The class that the manifest names. Raises UnknownName, CorruptRun."""
    from erasable import catalog

    known = {"method": catalog.METHODS, "task": catalog.TASKS}[what]
    if not isinstance(manifest[what], dict):
        raise CorruptRun(f"the run's {what} is {type(manifest[what]).__name__}", expected="a name and settings",
                         do="restore the run folder from a backup")  # fmt: skip
    name = str(manifest[what].get("name"))
    if given is not None:
        if catalog.name_of(given) != name:
            raise UnknownName(f"{what}={given.__name__} for a run whose {what} is '{name}'", expected="that class",
                              do="pass the class that the run was made with")  # fmt: skip
        return given
    if name not in known:
        raise UnknownName(f"the run's {what} '{name}' is not in the catalog", expected=f"a {what} that is",
                          do=f"{nearest_names(name, known)}; or import its class and pass {what}=...")  # fmt: skip
    kind: type[Any] = known[name]
    return kind
