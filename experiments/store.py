"""A result file that an interrupted experiment continues: one JSON, one entry per finished unit, written at once."""

import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"


class Store:
    """`store.run(key, work)` returns what is stored under `key`, or works, stores and returns it."""

    def __init__(self, name: str, about: str, command: str, folder: Path = RESULTS) -> None:
        self.path = folder / f"{name}.json"
        folder.mkdir(exist_ok=True)
        self.content: dict[str, Any] = json.loads(self.path.read_text()) if self.path.exists() else {"units": {}}
        self.content |= {"about": about, "command": command, "machine": machine()}

    def run(self, key: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        units = self.content["units"]
        if key not in units:
            print(f"{key} ...", file=sys.stderr, flush=True)
            units[key] = work()
            print(f"{key}: {units[key]}", file=sys.stderr, flush=True)
            self.save()
        return dict(units[key])

    def save(self, **summary: Any) -> None:
        """Write the file, merged with units that another process has finished meanwhile; atomic."""
        if self.path.exists():
            self.content["units"] = json.loads(self.path.read_text())["units"] | self.content["units"]
        self.content |= summary
        handle, temporary = tempfile.mkstemp(dir=self.path.parent)
        with os.fdopen(handle, "w") as file:
            json.dump(self.content, file, indent=1, sort_keys=True)
            file.write("\n")
        os.chmod(temporary, 0o644)
        os.replace(temporary, self.path)


def machine() -> dict[str, Any]:
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
