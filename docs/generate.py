"""Writes the parts of README.md and docs/ that follow from the code and from stored results.

    python docs/generate.py            write them
    python docs/generate.py --check    name the files that are not current; exit code 1 if there are any

A part stands between `<!-- NAME:begin -->` and `<!-- NAME:end -->`:

    methods    the catalog's methods and unlearners. The guarantee is not looked up but found out: each is trained on a
               toy, one sample at a time is erased, and the levels of the receipts are listed
    figure     docs/images/posthoc.svg: pareto.py
    numbers    tables from experiments/results/*.json and benchmarks/results/*.json: tables.py, unlearning.py,
               separating.py
"""

import copy
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))  # the tables stand beside this file
import separating
import tables
import unlearning

ROOT = Path(__file__).resolve().parents[1]
CODE = Path("erasable")

# Variants of a method whose guarantee differs from that of its defaults: what is shown, settings, what it is.
VARIANTS: Mapping[str, list[tuple[str, dict[str, Any], str]]] = {
    "spm": [
        ("encoder=public", {"encoder": "public"}, "the same, its encoder trained only on samples declared public"),
        ("encoder=frozen", {"encoder": "frozen", "similarity": "covariance"}, "the same on an encoder that is not "
         "trained here, with similarity=covariance"),
    ],
    "munkey": [
        ("phases=2", {"phases": 2, "keys": "pixels"}, "the same, its network trained on the public part or else on "
         "half of the samples, and then frozen"),
    ],
}  # fmt: skip


REQUIRED: Mapping[str, Callable[[], dict[str, Any]]] = {  # settings of unlearners that have no default
    "forsaken": lambda: {"reference": (1 / 3, 1 / 3, 1 / 3)},
    "geometric-disentanglement": lambda: {"inner": _ascent()},
    "low-influence": lambda: {"inner": _ascent()},
}  # fmt: skip


def _ascent() -> Any:
    from erasable.unlearners import GradientAscent

    return GradientAscent(epochs=1)


# --- the table of methods ------------------------------------------------------------------------------------------


def methods() -> str:
    """Names, what they are, and what a receipt says after an erasure."""
    from erasable import catalog

    told = catalog.families()
    lines = ["| name | what it is | an erasure is |", "|---|---|---|"]
    for name, place in catalog.METHODS.places.items():
        lines.append(f"| {_link(name, place)} | {told['methods'][name]} | {_level_of_method(name, {})} |")
        for shown, settings, what in VARIANTS.get(name, []):
            lines.append(f"| `{name}` {shown} | {what} | {_level_of_method(name, settings)} |")
    lines += ["", "| unlearner of a plain network | what it does | an erasure is |", "|---|---|---|"]
    for name, place in catalog.UNLEARNERS.places.items():
        lines.append(f"| {_link(name, place)} | {told['unlearners'][name]} | {_level_of_unlearner(name)} |")
    return "\n".join(lines)


def _link(name: str, place: str) -> str:
    return f"[`{name}`]({place.partition(':')[0].replace('.', '/')}.py)"


def _toy() -> tuple[Any, Any]:
    """24 points in the plane in three classes, all erasable, and their task."""
    import torch

    from erasable.dataset import Dataset
    from erasable.tasks import Classification

    labels = torch.arange(24) % 3
    x = torch.stack([labels - 1.0, (torch.arange(24) - 12) / 12], 1)
    data = Dataset.of({"x": x, "label": labels}, [f"toy/{i:02d}" for i in range(24)])
    return data, Classification(shape=(2,), classes=3, low=(-1.0,), high=(1.0,), inputs="x")


def _settings(name: str) -> dict[str, Any]:
    """The smallest network that trains."""
    from erasable.train import Recipe

    recipe = Recipe(epochs=1, batch=8)
    if name != "munkey":
        return {"network": "mlp width=4", "recipe": recipe} | ({"shards": 2} if name == "sisa" else {})
    return {"network": "vit patch=1 width=8 depth=1 heads=2", "key_network": "mlp width=4", "key_recipe": recipe,
            "value_width": 4, "value_steps": 2, "recipe": recipe}  # fmt: skip


def _level_of_method(name: str, settings: dict[str, Any]) -> str:
    """The levels of all erasures of one sample."""
    from erasable import catalog
    from erasable.request import Request
    from erasable.unlearner import Forgettable, forget

    data, task = _toy()
    public = "public" in settings.values() or (name == "munkey" and "keys" not in settings)
    if public:
        data = data.declare_public(data.ids[:12])
    model = catalog.METHODS[name](**{**_settings(name), **settings}).train(data, task, seeds=[0])[0]
    if not isinstance(model, Forgettable):
        return "only by an unlearner, see below"
    levels = [forget(copy.deepcopy(model), Request("toy", [each]), data=data)[1].level for each in data.private.ids]
    if set(levels) == {"exact", "revoked"}:
        return "exact outside that part, revoked inside"
    return " or ".join(sorted(set(levels)))


def _level_of_unlearner(name: str) -> str:
    """Of the erasure of a whole class from a small convolutional network, for some can do nothing else."""
    import torch

    from erasable import catalog
    from erasable.dataset import Dataset
    from erasable.network import Network
    from erasable.request import Request
    from erasable.tasks import Classification
    from erasable.unlearner import forget

    labels = torch.arange(24) % 3
    pictures = (labels - 1.0).view(-1, 1, 1, 1) * torch.linspace(-1, 1, 36).view(1, 1, 6, 6)
    data = Dataset.of({"image": pictures, "label": labels}, [f"toy/{i:02d}" for i in range(24)])
    task = Classification(shape=(1, 6, 6), classes=3, low=(-1.0,), high=(1.0,))
    settings = {**_settings("network"), "network": "convnet widths=8 groups=2"}
    model = Network(**settings).train(data, task, seeds=[0])[0]
    unlearner = catalog.UNLEARNERS[name](**REQUIRED.get(name, dict)())
    return forget(model, Request("toy", data.where("label", 1).ids), data=data, unlearner=unlearner)[1].level


# --- files ---------------------------------------------------------------------------------------------------------


def _named(writers: Iterable[Callable[[], str]]) -> dict[str, Callable[[], str]]:
    return {each.__name__.replace("_", "-"): each for each in writers}


PARTS: Mapping[str, Mapping[str, Callable[[], str]]] = {
    "README.md": {"methods": methods},
    "docs/choose.md": _named(unlearning.CHOOSE),
    "docs/results.md": _named((*tables.ALL, *unlearning.RESULTS, *separating.ALL)),
}


WHOLE: Mapping[str, Callable[[], str]] = {"docs/images/posthoc.svg": unlearning.posthoc_figure}


def current(text: str, parts: Mapping[str, Callable[[], str]]) -> str:
    """The text with its parts written anew. Raises ValueError for a part without its pair of markers."""
    for name, write in parts.items():
        begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
        if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
            raise ValueError(f"'{begin}' and '{end}' must stand in the text once each, in this order")
        head, tail = text.partition(begin)[0], text.partition(end)[2]
        text = f"{head}{begin}\n{write()}\n{end}{tail}"
    return text


def stale() -> dict[str, str]:
    """What `main` would write, by file."""
    parts = {path: current((ROOT / path).read_text(encoding="utf-8"), each) for path, each in PARTS.items()}
    fresh = parts | {path: write() for path, write in WHOLE.items()}
    return {path: text for path, text in fresh.items()
            if not (ROOT / path).exists() or (ROOT / path).read_text(encoding="utf-8") != text}  # fmt: skip


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--check"]):
        print("usage: python docs/generate.py [--check]", file=sys.stderr)
        return 2
    for path, text in (found := stale()).items():
        if arguments:
            print(f"{path} is not current; expected what the code says; run python docs/generate.py", file=sys.stderr)
        else:
            (ROOT / path).write_text(text, encoding="utf-8")
            print(f"wrote {path}")
    return 1 if arguments and found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
