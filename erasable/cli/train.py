"""`erasable train`: train a model and store it as a run folder."""

import shlex
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from erasable.cli._method import fitting, settings_of
from erasable.cli._options import (
    WHERE,
    AsJson,
    DataOptions,
    Flip,
    MethodName,
    NetworkName,
    Public,
    PublicWithout,
    RecipeOptions,
    Settings,
    Shift,
    flattened,
    result,
    spread,
)
from erasable.cli._threads import choose


@spread
def train(
    *,
    method: MethodName,
    data: Annotated[str, typer.Option(metavar="DATA", help=f"What to train on: {WHERE}")],
    out: Annotated[Path, typer.Option(metavar="RUN", help="The run folder to make: a new path or an empty folder.")],
    seed: Annotated[int, typer.Option(help="Decides all that is random.")] = 0,
    public: Public = 0,
    public_without: PublicWithout = None,
    settings: Settings = None,
    network: NetworkName = None,
    recipe: RecipeOptions,
    shift: Shift = 0,
    flip: Flip = False,
    read: DataOptions,
    as_json: AsJson = False,
) -> None:
    """Train a model and store it as a run folder.

    Example: erasable train spm --data digits --public 450 --set encoder=public --set similarity=covariance --out run
    """
    options = flattened(locals())
    import torch

    from erasable._plumbing.progress import Steps, duration
    from erasable._plumbing.settings import to_json
    from erasable.cli._modes import refuse_used
    from erasable.cli._source import source_of
    from erasable.run import Run
    from erasable.source import OWN
    from erasable.tasks.classification import Classification

    given = settings_of(method, options)
    refuse_used(out)
    source = source_of(data, options, public=public, public_without=public_without or ())
    samples, fresh = source.train(), source.test()
    task = Classification.of(samples, shift=shift, flip=flip)
    chosen = fitting(method, given, task, samples)
    steps = Steps()
    choose(chosen, samples, task, [seed], steps.say)
    with steps.step(f"training {method} on {len(samples)} samples", about=_guess(chosen, len(samples))) as told:
        start = time.perf_counter()
        model = chosen.train(samples, task, seeds=[seed], progress=told)[0]
        seconds = time.perf_counter() - start
    accuracy = _accuracy(model, task, fresh)
    spec = {"source": source.spec(), "training": {"seed": seed, "seconds": round(seconds, 3),
                                                    "threads": torch.get_num_threads()}}  # fmt: skip
    Run.create(out, model, data=samples, spec=spec)
    run = Run.open(out)  # read back: what cannot be opened must be found out now
    exposure = {part: len(ids) for part, ids in run.exposure.parts.items()}
    parts = ", ".join(f"{part} ({count} samples)" for part, count in exposure.items()) or "none"
    example = _example(samples)
    words = [
        f"Trained {method} on {len(samples)} samples of {samples.name} in {duration(seconds)}; "
        f"test accuracy {accuracy:.1f} %.",
        f"Parts that remember: {parts}. {len(samples.public)} samples are public and cannot be erased.",
        f"Stored in {out}.",
        f"Next: erasable forget {out} {example} --dry-run",
    ]
    if data.partition(":")[0] in OWN and read.sample_id is None and not data.startswith("folder:"):
        words.insert(3, "The samples have no ids of their own: they are called by their row. Do not reorder the file.")
    facts: dict[str, Any] = {
        "run": str(out), "method": method, "settings": to_json(chosen), "samples": len(samples),
        "public": len(samples.public), "test_accuracy": round(accuracy, 3), "seconds": round(seconds, 3),
        "exposure": exposure, "digest": samples.digest(),
    }  # fmt: skip
    result("\n".join(words), facts, as_json)


def _guess(method: Any, samples: int) -> float:
    """Seconds that a small network takes on two cores: an order of magnitude, said before the start."""
    return max(1.0, samples * int(getattr(method.recipe, "epochs", 10)) / 15_000)


def _accuracy(model: Any, task: Any, data: Any) -> float:
    """On test data, in per cent."""
    from erasable.evidence import exposed
    from erasable.signals import correct

    return 100 * float(correct([model], task, data, fitted=exposed([model], data.ids)).values.mean())


def _example(data: Any) -> str:
    """A request that could be made."""
    private = data.private
    if private.owners is None:
        return f"--ids {shlex.quote(private.ids[0])}"
    return f"--owner {shlex.quote(private.owners[0])}"
