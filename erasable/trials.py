"""Which settings of an unlearner are tried: where it begins, and points spread evenly over the ranges of its settings.

`SEARCH` is the one table of what is searched; a method that is not in it gets ranges around its defaults. Points are
scrambled Sobol points (I. M. Sobol', 1967; A. B. Owen, 1998) on a logarithmic scale: any few of them cover the space
better than as many random ones, and the first N are the same whatever the budget.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from erasable import catalog
from erasable._plumbing.seeds import child
from erasable.errors import SettingsError, nearest_names
from erasable.unlearner import Unlearner

Range = tuple[float, float] | list[Any]  # the bounds of a number, on a logarithmic scale; or the values to choose from

SEARCH: Mapping[str, Mapping[str, Range]] = {
    "bad-teacher": {"lr": (1e-5, 1e-2), "epochs": (1, 8), "temperature": (0.5, 4.0), "share": [0.3, 1.0]},
    "boundary-expand": {"lr": (1e-6, 1e-1), "epochs": (2, 20)},
    "boundary-shrink": {"lr": (1e-6, 1e-1), "epochs": (2, 20), "reach": (0.02, 0.5)},
    "cf-k": {"k": [1, 2], "lr": (1e-3, 0.3), "epochs": (3, 30)},
    "ct": {"lr": (1e-4, 0.3), "epochs": (1, 10)},
    "cupid": {"lr": (1e-5, 0.1), "epochs": (1, 5), "causal": (0.01, 0.3), "pathway": (0.1, 0.9)},
    "entanglement": {"lr": (3e-3, 0.3), "epochs": (5, 40), "rise": (0.05, 10.0), "repair_lr": (3e-4, 0.03)},
    "eu-k": {"k": [1, 2], "lr": (1e-3, 0.3), "epochs": (3, 30)},
    "finetune": {"lr": (1e-3, 0.3), "epochs": (2, 20)},
    "fisher": {"variance": (1e-9, 1e-3), "ceiling": (3e-3, 0.3)},
    "forsaken": {"lr": (1e-3, 1.0), "epochs": (10, 100), "sparsity": (1e-5, 0.1)},
    "gradient-ascent": {"lr": (1e-4, 0.3), "epochs": (1, 10), "rise": (0.1, 10.0)},
    "iau": {"lr": (1e-4, 10.0), "steps": (1, 10)},
    "influence": {"damping": (1e-4, 1.0), "rise": (0.01, 0.5)},
    "l1-sparse": {"penalty": (1e-6, 1e-2), "lr": (1e-3, 0.1), "epochs": (2, 20)},
    "low-influence": {"quantile": (0.1, 0.9)},
    "min-norm": {"lr": (1e-5, 1e-2), "epochs": (3, 30), "ridge": (0.01, 1.0), "decay": (0.5, 1.0)},
    "msg": {"share": (0.1, 0.9), "lr": (1e-4, 0.1), "epochs": (2, 15)},
    "neggrad-plus": {"weight": [0.8, 0.9, 0.95, 0.98, 0.99, 0.999], "lr": (1e-4, 0.1), "epochs": (2, 15)},
    "noisy-descent": {"lr": (1e-3, 0.3), "sigma": (1e-4, 0.1), "steps": (5, 80)},
    "random-labels": {"lr": (1e-4, 0.1), "epochs": (2, 15), "mixed": [False, True]},
    "salun": {"share": (0.1, 1.0), "lr": (1e-4, 0.1), "epochs": (2, 15), "mixed": [False, True]},
    "scrub": {"lr": (1e-5, 1e-2), "alpha": (1e-4, 1.0), "epochs": (3, 10), "temperature": (1.0, 8.0)},
    "ssd": {"alpha": (0.5, 100.0), "strength": (0.03, 10.0)},
    "trw": {"lr": (1e-4, 0.1), "epochs": (1, 10), "beta": (1.0, 30.0), "weight": (0.1, 10.0)},
    "unsir": {"noise_lr": (0.01, 1.0), "impair_lr": (1e-4, 0.1), "repair_lr": (1e-4, 0.1)},
}
"""What is searched, by the name in the catalog; for others see `space_of`."""
STILL = ("batch", "momentum", "weight_decay")  # settings that are not searched where no table says what is worth it
POINTS = 32  # Sobol points per trial that is wanted: some are refused, or round to what was there


def space_of(start: Unlearner[Any]) -> dict[str, Range]:
    """What is searched: the table's, or, for a method that is not in it, learning rates times 0.01 to 100, other
    positive fractions times 0.1 to 10 and whole numbers times 0.5 to 2. A setting that is not the default is held.

    Raises SettingsError where nothing is left.
    """
    name, found = catalog.name_of(start), dict[str, Range]()
    for each in dataclasses.fields(start):  # type: ignore[arg-type]
        value = getattr(start, each.name)
        if not each.init or value != _default(each):
            continue
        if name in SEARCH:
            found |= {each.name: SEARCH[name][each.name]} if each.name in SEARCH[name] else {}
        elif each.name not in STILL and isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            reach = 100.0 if each.name.endswith("lr") else 2.0 if isinstance(value, int) else 10.0
            found[each.name] = (max(1, value // 2) if isinstance(value, int) else value / reach, value * reach)
    if not found:
        raise SettingsError(f"{name}, which has no setting to search", expected="an unlearner with free settings",
                            do="use it as it is, or give a space")  # fmt: skip
    return found


def trials_of(
    start: Unlearner[Any], budget: int, *, seed: int = 0, space: Mapping[str, Range] | None = None
) -> list[Unlearner[Any]]:
    """`start`, then Sobol points of the space; fewer than `budget` where the space has no more. What the class refuses
    is no trial. Raises SettingsError for a budget below 2, a setting that does not exist or bounds that are none."""
    from scipy.stats import qmc

    if budget < 2:
        raise SettingsError(f"budget={budget}", expected="at least 2: the settings to begin with and another",
                            do="ask for more; 16 is a start")  # fmt: skip
    ranges = dict(space_of(start) if space is None else space)
    known = [each.name for each in dataclasses.fields(start) if each.init]  # type: ignore[arg-type]
    for name, span in ranges.items():
        if name not in known:
            raise SettingsError(f"the setting '{name}' for {catalog.name_of(start)}", do=nearest_names(name, known),
                                expected=f"one of {', '.join(known)}")  # fmt: skip
        if not span or (isinstance(span, tuple) and not (len(span) == 2 and 0 < span[0] <= span[1] < math.inf)):
            raise SettingsError(f"{name} between {span}", expected="(low, high) with 0 < low <= high, or a list",
                                do="correct the space")  # fmt: skip
    points = qmc.Sobol(len(ranges), scramble=True, seed=child(seed, "trials") % 2**32)
    found = [start]
    for point in points.random_base2(math.ceil(math.log2(POINTS * budget))):
        changed = {name: _at(span, float(x), getattr(start, name))
                   for (name, span), x in zip(ranges.items(), point, strict=True)}  # fmt: skip
        try:
            made = dataclasses.replace(start, **changed)  # type: ignore[type-var]
        except SettingsError:
            continue
        if made not in found:
            found.append(made)
        if len(found) == budget:
            break
    return found


def _default(each: "dataclasses.Field[Any]") -> Any:
    return each.default_factory() if each.default_factory is not dataclasses.MISSING else each.default


def _at(span: Range, x: float, like: Any) -> Any:
    """The value at x in [0, 1); whole where the setting is."""
    if isinstance(span, list):
        return span[min(len(span) - 1, int(x * len(span)))]
    low, high = span
    if isinstance(like, int):
        return min(int(high), max(math.ceil(low), math.floor(math.exp(math.log(low) + x * math.log((high + 1) / low)))))
    return float(f"{math.exp(math.log(low) + x * math.log(high / low)):.4g}")
