"""One trained model as bytes, and a name for its training: what a folder of many models is made of.

A name is a SHA-256 of everything that decides a training: the method's settings, the task's, the samples with their
contents in their order, the seed. So a model that is there under its name never has to be trained again. The bytes are
a safetensors file with a digest of its own inside, since the name says nothing about them.

    weights/NAME    the state_dict
    exposure/PART   (samples,) which of the model's samples that part was fitted on
    mended/PART     (0,) where an erasure mends that part
    memory/...      keys, values and labels as they stand, `rows`: whose each row is, `forgotten`: who was removed; both
                    as numbers of the model's samples
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor

from erasable._plumbing import samples, settings
from erasable.dataset import Dataset
from erasable.errors import CorruptRun, InvalidData, SettingsError
from erasable.memory import Memory
from erasable.receipt import Exposure

FORMAT = 1  # of the bytes and of the names; another one where training comes to mean something else
DIGEST = "digest"
SUFFIX = ".safetensors"


def sample_digests(data: Dataset) -> NDArray[np.uint8]:
    """(samples, 16): each sample's id, owner, public mark and contents; of nobody else."""
    owners = data.owners or ("",) * len(data)
    public = data.table.public[data.rows].tolist()
    found = np.empty((len(data), 16), np.uint8)
    for at, (content, *facts) in enumerate(zip(samples.contents(data, b""), data.ids, owners, public, strict=True)):
        told = content + json.dumps(facts).encode()
        found[at] = np.frombuffer(hashlib.blake2b(told, digest_size=16).digest(), np.uint8)
    return found


def told(thing: Any) -> dict[str, Any]:
    """Which class it is and its settings. Raises SettingsError for what is no dataclass, or has settings of its own."""
    kind = type(thing)
    try:
        facts = {"kind": f"{kind.__module__}:{kind.__qualname__}", "settings": settings.to_json(thing)}
        json.dumps(facts)
    except TypeError as wrong:
        raise SettingsError(f"a {kind.__name__} whose settings cannot be written down ({wrong})",
                            expected="a dataclass of numbers and text",
                            do="without that, what it made cannot be found again") from wrong  # fmt: skip
    return facts


def name_of(**facts: Any) -> str:
    """SHA-256 of JSON-like facts and of the format."""
    text = json.dumps({"format": FORMAT, **facts}, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def pack(model: Any, ids: Sequence[str]) -> bytes:
    """A model that was trained on the samples `ids`. Raises InvalidData for one that knows others."""
    place = {each: at for at, each in enumerate(ids)}

    def places(names: Sequence[str]) -> Tensor:
        if lost := [each for each in names if each not in place]:
            raise InvalidData(f"a {type(model).__name__} knows the sample '{lost[0]}', which it was not trained on",
                              expected="nothing of others", do="repair the method")  # fmt: skip
        return torch.tensor([place[each] for each in names], dtype=torch.int64)

    tensors = {f"weights/{name}": tensor for name, tensor in model.state_dict().items()}
    for part, fitted in model.exposure.parts.items():
        mask = torch.zeros(len(ids), dtype=torch.bool)
        mask[places(sorted(fitted))] = True
        tensors[f"exposure/{part}"] = mask
    tensors |= {f"mended/{part}": torch.empty(0) for part in sorted(model.exposure.mended)}
    if (memory := model.memory) is not None:
        tensors |= {f"memory/{name}": getattr(memory, name) for name in ("keys", "values", "labels")}
        tensors["memory/rows"] = places(memory.ids)
        tensors["memory/forgotten"] = places(sorted(memory.forgotten))
    apart = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    apart[DIGEST] = _digest(apart)
    return safetensors.torch.save(apart)


def read(content: bytes, where: Path | str) -> dict[str, Tensor]:
    """The tensors of a packed model. Raises CorruptRun unless they are those that were written."""
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load(content)
    except (safetensors.SafetensorError, KeyError, ValueError, AssertionError) as wrong:
        raise _damaged(where, f"is no safetensors file ({wrong})") from wrong
    written = tensors.pop(DIGEST, None)
    if written is None or not torch.equal(written, _digest(tensors)):
        raise _damaged(where, "has other contents than were written")
    return tensors


def unpack(
    tensors: Mapping[str, Tensor], ids: Sequence[str], method: Any, task: Any, device: torch.device | str
) -> Any:
    """The model, on `device`; `ids` as they were for `pack`."""
    parts: dict[str, dict[str, Tensor]] = {"weights": {}, "exposure": {}, "mended": {}, "memory": {}}
    for name, tensor in tensors.items():
        family, _, rest = name.partition("/")
        parts[family][rest] = tensor
    fitted = {part: frozenset(_named(ids, mask.nonzero())) for part, mask in parts["exposure"].items()}
    exposure = Exposure(fitted, frozenset(parts["mended"]))
    memory = None
    if stored := parts["memory"]:
        memory = Memory(stored["keys"].shape[1], stored["values"].shape[1], device=device)
        memory.add(_named(ids, stored["rows"]), stored["keys"], stored["values"], stored["labels"])
        memory.forgotten.update(_named(ids, stored["forgotten"]))
    return method.restore(task, parts["weights"], memory, exposure).to(device)


def _named(ids: Sequence[str], at: Tensor) -> list[str]:
    return [ids[each] for each in at.flatten().tolist()]


def _digest(tensors: Mapping[str, Tensor]) -> Tensor:
    """SHA-256 of names, types, shapes and bytes, (32,)."""
    hasher = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        hasher.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        hasher.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return torch.frombuffer(bytearray(hasher.digest()), dtype=torch.uint8)


def _damaged(where: Path | str, how: str) -> CorruptRun:
    return CorruptRun(f"'{where}' {how}", expected="the model as it was written",
                      do="train the fleet again: what is missing or damaged is replaced")  # fmt: skip
