"""128 shadow models of digits, and U-LiRA with 64 models and three methods, from nothing to the findings.

    OMP_NUM_THREADS=1 python benchmarks/fleet.py

One thread: the steps are too small for two, which on a busy machine wait for each other.
Asked for on 2 cores: 128 shadow models in under 60 seconds, U-LiRA in under 5 minutes.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from timing import store

from erasable.attacks._rates import rates
from erasable.attacks.ulira import ulira
from erasable.datasets import digits
from erasable.fleet import Fleet, Plan, train_fleet, unlearn_fleet
from erasable.forgettable.spm import SPM
from erasable.network import Network
from erasable.signals.margin import margin
from erasable.tasks import Classification
from erasable.unlearners import FineTune, GradientAscent, Nothing

ENCODER = "mlp width=128"  # 20 epochs, as long as every example trains it
TARGETS = 144  # samples that are attacked: each model was trained on half of them, and forgets those


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    return work(), time.perf_counter() - start


def shadows() -> dict[str, Any]:
    data = digits("train")
    task = Classification.of(data)
    with tempfile.TemporaryDirectory() as folder:

        def train() -> Fleet:
            plan = Plan.halves(data.ids, models=128, seed=0)
            return train_fleet(Network(network=ENCODER), data, task, plan, folder=folder, log=say)

        fleet, seconds = timed(train)
        _, again = timed(train)
        _, read = timed(lambda: fleet.models)
    return {"models": len(fleet), "samples_each": fleet.plan.positions.shape[1], "seconds": seconds,
            "seconds_when_stored": again, "seconds_to_read": read, "notes": fleet.notes}  # fmt: skip


def attacked() -> dict[str, Any]:
    data = digits("train")
    task = Classification.of(data)
    targets = data.ids[:TARGETS]  # of all classes; nobody chose them
    plan = Plan.halves(data.ids, models=64, seed=0, targets=targets)
    requests = plan.requests(TARGETS // 2)
    probe, at = data.only(targets), plan.targets
    result: dict[str, Any] = {"models": 64, "targets": TARGETS, "forgotten_each": TARGETS // 2, "methods": {}}
    start = time.perf_counter()
    for method, ways in ((Network(network=ENCODER), (Nothing(), FineTune(), GradientAscent())),
                         (SPM(network=ENCODER), ("forget",))):  # fmt: skip
        fleet, training = timed(lambda method=method: train_fleet(method, data, task, plan, log=say))
        result[f"seconds_to_train_{type(method).__name__}"] = training
        result[f"notes_of_{type(method).__name__}"] = fleet.notes
        for way in ways:
            gone, unlearning = timed(lambda way=way, fleet=fleet: unlearn_fleet(fleet, way, requests, log=say))
            name = f"{type(method).__name__} {way if way == 'forget' else type(way).__name__}"

            def judge(gone: Fleet = gone, name: str = name) -> tuple[Any, ...]:
                evidence = margin(gone.models, task, probe, fitted=plan.members[:, at])
                return rates(ulira(evidence, gone.forgotten[:, at]), subject=name)

            findings, judging = timed(judge)
            result["methods"][name] = {
                "seconds_to_unlearn": unlearning,
                "seconds_to_judge": judging,
                **{each.metric: {"value": each.value, "interval": each.interval, "unit": each.unit}
                   for each in findings},
            }  # fmt: skip
    result["seconds"] = time.perf_counter() - start
    return result


def main() -> None:
    result = {"128 shadow models": shadows(), "U-LiRA": attacked()}
    store("fleet", __doc__.splitlines()[0], "OMP_NUM_THREADS=1 python benchmarks/fleet.py", result)


if __name__ == "__main__":
    main()
