"""Paired timing on a noisy machine: the candidates take turns in one process, and ratios are taken round by round."""

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"


def paired(candidates: Mapping[str, Callable[[], Any]], *, rounds: int) -> dict[str, Any]:
    """Seconds of each candidate over `rounds`, after one warm-up, and the median ratio of the last to each."""
    for work in candidates.values():
        work()
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for i in range(rounds):
        names = list(candidates)
        for name in names if i % 2 == 0 else reversed(names):  # neither always has the warmer cache
            start = time.perf_counter()
            candidates[name]()
            seconds[name].append(time.perf_counter() - start)
    last = list(candidates)[-1]

    def ratio(values: list[float]) -> float:
        return statistics.median(b / a for a, b in zip(values, seconds[last], strict=True))

    return {name: spread(values) | {f"{last} / {name}": ratio(values)} for name, values in seconds.items()}


def spread(values: list[float]) -> dict[str, float]:
    return {"median_s": statistics.median(values), "min_s": min(values), "max_s": max(values), "rounds": len(values)}


def store(name: str, about: str, command: str, result: Mapping[str, Any]) -> None:
    """Write benchmarks/results/NAME.json and print it."""
    content = {
        "about": about,
        "command": command,
        "result": result,
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(content, indent=1) + "\n"
    (RESULTS / f"{name}.json").write_text(text)
    sys.stdout.write(text)
