"""Each of the ten classes of Fashion-MNIST forgotten in turn: what selective dampening does to the worst of them, and
whether tilted reweighting looks most like models that never had the class (MIA-NN).

    OMP_NUM_THREADS=1 python experiments/ten_classes.py --data-dir DATA

2,000 pictures, 200 of each class, and a small ConvNet. Three models, trained from three seeds, forget each class in
each way. What they say of 5,000 test pictures is held against 10 oracles per class, which never had it, and 3 further
ones stand in for a perfect way ("retrain").

    gap of a model = | MIA-NN accuracy of the model - mean of the oracles' |     in points, all asked the same neighbour

Variant A of the attack tells the erased class from its nearest neighbour, B from all others; "null" is the gap of each
oracle to the others, below which nothing can be told. Gaps are means over 10 classes x 3 models.

"A log" is A with log-probabilities in place of probabilities, for which nothing was tuned.

Settings are chosen on 2,000 other training pictures and the other 5,000 test pictures, on which models and oracles of
their own were trained: no sample is shared. Four classes are forgotten there, each from another model, and each method
gets the same number of trials (`TRIALS`: its defaults, then Sobol points of `SPACES`), of which the one with the least

    score = (gap A + gap B) / 2  +  retained accuracy below the oracles'  +  accuracy on the erased class above theirs

is taken, in points on test pictures, as a mean over the development classes *other than the one that is reported*. So
every method is tuned for MIA-NN, by the same number. No method may take more than `EPOCHS` passes over the retained
data, where training again takes 10: with as many, fine-tuning is training again. Batches hold 64 samples for all that
read retained data. TRW has beta = 10; its temperature, which its paper does not tell, is searched with the rest. In
"trw-mild" it is 10: on the development data the tilted answers are the farther from the oracles' the sharper the tilt
(KL 0.13 to 0.53 nats at 10, 1.8 to 5.7 at the default 0.1, 0.11 to 0.51 without a tilt; between oracles 0.10 to 0.57).
ASSD has nothing to tune and is as published. The attack was given the same pictures for all models of a class.

Asked: for SSD, mean and worst class (Kodge et al. for CIFAR-10 and ResNet-18: retained 85.76 +- 25.76, erased 4.37 +-
12.79). For TRW, a gap at least 40 % below the best of fine-tuning, random labels, SalUn, SCRUB and boundary (its paper,
on CIFAR-10: 46 %).
"""

import argparse
import math
from typing import Any

import numpy as np
import torch
from class_bench import Bench, gap, score, sides
from store import Store

from erasable.errors import ErasableError
from erasable.trials import Range, trials_of
from erasable.unlearners.boundary_expand import BoundaryExpand
from erasable.unlearners.boundary_shrink import BoundaryShrink
from erasable.unlearners.ct import CT
from erasable.unlearners.finetune import FineTune
from erasable.unlearners.l1_sparse import L1Sparse
from erasable.unlearners.nothing import Nothing
from erasable.unlearners.random_labels import RandomLabels
from erasable.unlearners.salun import SalUn
from erasable.unlearners.scrub import SCRUB
from erasable.unlearners.ssd import SSD
from erasable.unlearners.trw import TRW

TRIALS, EPOCHS = 8, 3
ATTACKS = ("A", "B", "A log")
CLASSES, DEVELOPMENT = range(10), (0, 2, 7, 8)
RATE: Range = (1e-3, 0.3)
PLAIN: dict[str, Any] = {"epochs": EPOCHS, "batch": 64}
STARTS: dict[str, Any] = {
    "nothing": Nothing(),
    "ct": CT(**PLAIN),
    "finetune": FineTune(**PLAIN),
    "random-labels": RandomLabels(**PLAIN),
    "salun": SalUn(**PLAIN),
    "scrub": SCRUB(**PLAIN),
    "boundary-shrink": BoundaryShrink(),
    "boundary-expand": BoundaryExpand(),
    "l1-sparse": L1Sparse(**PLAIN),
    "trw": TRW(**PLAIN),
    "redistribution": TRW(beta=0.0, **PLAIN),
    "trw-mild": TRW(temperature=10.0, **PLAIN),
    "ssd": SSD(),
    "lfssd": SSD(importance="outputs"),
    "assd": SSD(alpha=None),
}
SHORT: Range = list(range(1, EPOCHS + 1))
SPACES: dict[str, dict[str, Range]] = {
    "ct": {"lr": RATE, "epochs": SHORT},
    "finetune": {"lr": RATE, "epochs": SHORT},
    "random-labels": {"lr": RATE, "epochs": SHORT, "mixed": [False, True]},
    "salun": {"lr": RATE, "epochs": SHORT, "mixed": [False, True], "share": (0.1, 1.0)},
    "scrub": {"lr": (1e-4, 0.1), "alpha": (1e-4, 1.0), "temperature": (1.0, 8.0)},
    "boundary-shrink": {"lr": (1e-4, 0.1), "epochs": (2, 20), "reach": (0.02, 0.5)},
    "boundary-expand": {"lr": (1e-4, 0.1), "epochs": (2, 20)},
    "l1-sparse": {"lr": RATE, "epochs": SHORT, "penalty": (1e-6, 1e-2)},
    "trw": {"lr": RATE, "epochs": SHORT, "weight": (0.1, 10.0), "temperature": (0.1, 30.0)},
    "redistribution": {"lr": RATE, "epochs": SHORT, "weight": (0.1, 10.0)},
    "trw-mild": {"lr": RATE, "epochs": SHORT, "weight": (0.1, 10.0)},
    "ssd": {"alpha": (1.0, 10.0), "strength": (0.03, 2.0)},  # above 10 = all / erased nothing is selected
    "lfssd": {"alpha": (1.0, 10.0), "strength": (0.03, 2.0)},
}
RIVALS = ("finetune", "random-labels", "salun", "scrub", "boundary-shrink", "boundary-expand")


def trials(name: str) -> list[Any]:
    return trials_of(STARTS[name], TRIALS, space=SPACES[name]) if name in SPACES else [STARTS[name]]


def tried(bench: Bench, target: tuple[int, Any], settings: list[Any]) -> dict[str, Any]:
    """All settings of one method on one development class; None for models that diverged."""
    found: list[Any] = []
    for each in settings:
        try:
            found.append(bench.after(each, dict([target]))["models"][0])
        except (ErasableError, RuntimeError):
            found.append(None)
    return {"trials": found}


def chosen(units: dict[str, Any], name: str, reported: int) -> int:
    """The number of the trial that is best on the development classes other than the reported."""
    others = [each for each in DEVELOPMENT if each != reported]
    scores = np.array([[math.inf if model is None else score(model, units[f"development/{each}/oracles"]["oracles"])
                        for model in units[f"development/{each}/{name}"]["trials"]] for each in others])  # fmt: skip
    return int(scores.mean(0).argmin())


def gaps(units: dict[str, Any], name: str, variant: str) -> np.ndarray:
    """(classes, models) in points; of the oracles, each to the others."""
    found = []
    for erased in CLASSES:
        known = units[f"reported/{erased}/oracles"]
        oracles = [each[variant] for each in known["oracles"]]
        if name == "null":
            found.append([gap(each, oracles[:at] + oracles[at + 1 :]) for at, each in enumerate(oracles)])
        else:
            found.append([gap(each[variant], oracles) for each in models_of(units, name, erased)])
    return np.array(found)


def models_of(units: dict[str, Any], name: str, erased: int) -> list[dict[str, float]]:
    known = units[f"reported/{erased}/oracles"]
    if name in ("null", "retrain"):
        return list(known["oracles" if name == "null" else name])
    return list(units[f"reported/{erased}/{name}/{chosen(units, name, erased)}"]["models"])


def row(units: dict[str, Any], name: str) -> dict[str, Any]:
    """Means over classes and models. Deviations are those of ten classes, each the mean of its models."""
    found: dict[str, Any] = {}
    for variant in ATTACKS:
        each = gaps(units, name, variant).mean(1)
        found |= {f"gap {variant}": round(each.mean(), 2), f"error {variant}": round(each.std(ddof=1) / 10**0.5, 2)}
    for number, worst in (("retained", np.min), ("erased", np.max), ("KL", np.max)):
        each = np.array([[model[number] for model in models_of(units, name, erased)] for erased in CLASSES])
        at = int(np.argmax(each.mean(1) == worst(each.mean(1))))
        found[number] = {"mean": round(each.mean(), 3), "sd": round(each.mean(1).std(ddof=1), 3), "worst class": at,
                         "worst": round(each.mean(1)[at], 3), "worst model": round(float(worst(each)), 3),
                         "classes": each.mean(1).round(3).tolist()}  # fmt: skip
    if name in STARTS:
        picks = {erased: chosen(units, name, erased) for erased in CLASSES}
        names = SPACES.get(name, {})
        found["settings"] = [{**{key: getattr(trials(name)[at], key) for key in names}, "trial": at,
                              "classes": [each for each, of in picks.items() if of == at]}
                             for at in sorted({*picks.values()})]  # fmt: skip
        found["trials"] = len(trials(name))
        times = [units[f"reported/{c}/{name}/{at}"]["seconds"] / units[f"reported/{c}/oracles"]["seconds"]
                 for c, at in picks.items()]  # fmt: skip
        found["time of training again"] = round(float(np.median(times)), 2)
    return found


def below(units: dict[str, Any], name: str, variant: str, draws: int = 4_000) -> dict[str, Any]:
    """By how much the gap is below the best rival's, in %; an interval from classes drawn again, the best with them."""
    ours, theirs = gaps(units, name, variant).mean(1), np.stack([gaps(units, each, variant).mean(1) for each in RIVALS])
    at = np.random.default_rng(5).integers(0, len(ours), (draws, len(ours)))
    ratios = ours[at].mean(1) / theirs[:, at].mean(2).min(0)
    best = int(theirs.mean(1).argmin())
    return {"best rival": RIVALS[best], "below": round(100 * (1 - ours.mean() / theirs.mean(1)[best]), 1),
            "interval": [round(100 * (1 - x), 1) for x in np.quantile(ratios, (0.975, 0.025))],
            "null": round(float(gaps(units, "null", variant).mean()), 2)}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir")
    parser.add_argument("--only", nargs="+", default=list(STARTS))
    parser.add_argument("--classes", nargs="+", type=int, default=list(CLASSES), help="without a table if not all")
    parser.add_argument("--stages", nargs="+", default=["development", "reported"])
    asked = parser.parse_args()
    torch.set_num_threads(1)
    store = Store("ten_classes", " ".join(__doc__.split("\n\n")[0].split()),
                  "OMP_NUM_THREADS=1 python experiments/ten_classes.py --data-dir DATA")  # fmt: skip
    both = sides(asked.data_dir)
    side = both["development"]
    for at, erased in enumerate(DEVELOPMENT):
        if erased not in asked.classes:
            continue
        store.run(f"development/{erased}/oracles", lambda c=erased: side.bench(c).known())
        for name in asked.only:
            store.run(f"development/{erased}/{name}", lambda c=erased, i=at, n=name:
                      tried(side.bench(c), (i, side.targets[i]), trials(n)))  # fmt: skip
    if "reported" not in asked.stages:
        return
    side = both["reported"]
    for erased in asked.classes:
        store.run(f"reported/{erased}/oracles", lambda c=erased: side.bench(c).known())
        for name in asked.only:
            at = chosen(store.content["units"], name, erased)
            store.run(f"reported/{erased}/{name}/{at}", lambda c=erased, n=name, k=at:
                      side.bench(c).after(trials(n)[k], dict(enumerate(side.targets))))  # fmt: skip
    if asked.classes != list(CLASSES):
        return
    units = store.content["units"]
    table = {name: row(units, name) for name in ("null", "retrain", *STARTS)}
    asked_for = {f"{name} {variant}": below(units, name, variant) for name in ("trw", "trw-mild", "redistribution")
                 for variant in ATTACKS}  # fmt: skip
    store.save(table=table, below=asked_for)
    for name, each in table.items():
        print(f"{name:16} gap A {each['gap A']:5} +- {each['error A']:4}  B {each['gap B']:5} +- {each['error B']:4}  "
              + "  ".join(f"{number} {each[number]['mean']:6} +- {each[number]['sd']:6} worst {each[number]['worst']:6}"
                          for number in ("retained", "erased", "KL")))  # fmt: skip
    for name, each in asked_for.items():
        print(name, each)


if __name__ == "__main__":
    main()
