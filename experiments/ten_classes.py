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
gets eight trials, its defaults and then Sobol points (class_ways.py), of which the one with the least

    score = (gap A + gap B) / 2  +  retained accuracy below the oracles'  +  accuracy on the erased class above theirs

is taken, in points on test pictures, as a mean over the development classes *other than the one that is reported*. So
every method is tuned for MIA-NN, by the same number. No method may take more than three passes over the retained data,
where training again takes 10: with as many, fine-tuning is training again. Batches hold 64 samples for all that read
retained data. TRW has beta = 10; its temperature, which its paper does not tell, is searched with the rest. In
"trw-mild" it is 10, a hardly noticeable tilt: on the development data the default 0.1, all else equal, ends further
from the oracles than no tilt does (KL 0.7 to 3.9 nats by class instead of 0.1 to 0.5; between oracles 0.1 to 0.6).
ASSD has nothing to tune and is as published.

Asked: for SSD, mean and worst class (Kodge et al. for CIFAR-10 and ResNet-18: retained 85.76 +- 25.76, erased 4.37 +-
12.79). For TRW, a gap at least 40 % below the best of fine-tuning, random labels, SalUn, SCRUB and boundary (its paper,
on CIFAR-10: 46 %). It is missed: boundary shrink, which pays with retained accuracy, comes as near, and 40 % less is
about what oracles differ by. The stage "why" shows what TRW's gap depends on, by a development class: hardly on epochs,
learning rate and weight, but on the trained model, whose own second thoughts are what it is taught.
"""

import argparse
import math
from typing import Any

import numpy as np
import torch
from class_bench import Bench, gap, score, sides
from class_ways import PLAIN, SPACES, STARTS, trials
from store import Store

from erasable.errors import ErasableError
from erasable.unlearners.trw import TRW

ATTACKS = ("A", "B", "A log")
CLASSES, DEVELOPMENT = range(10), (0, 2, 7, 8)
WHY: dict[str, Any] = {  # what TRW's gap depends on
    "redistribution, 3 epochs": TRW(beta=0.0, lr=0.01, **PLAIN),
    "redistribution, 10 epochs": TRW(beta=0.0, lr=0.01, epochs=10, batch=64),
    "redistribution, faster": TRW(beta=0.0, lr=0.06, weight=0.3, **PLAIN),
    "redistribution, a tenth of the weight": TRW(beta=0.0, lr=0.03, weight=0.1, **PLAIN),
    "trw, as chosen": TRW(lr=0.001037, weight=1.87, temperature=2.198, **PLAIN),
}
RIVALS = ("finetune", "random-labels", "salun", "scrub", "boundary-shrink", "boundary-expand")


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
    """(classes, models) in points, by an attack or as "score"; of the oracles, each to the others."""
    found = []
    for erased in CLASSES:
        if variant == "score":
            oracles = units[f"reported/{erased}/oracles"]["oracles"]
            found.append([score(each, oracles) for each in models_of(units, name, erased)])
            continue
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
    found["score"] = round(gaps(units, name, "score").mean(), 2)
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
    return {"best rival": RIVALS[best], "below": round(100 * float(1 - ours.mean() / theirs.mean(1)[best]), 1),
            "interval": [round(100 * float(1 - x), 1) for x in np.quantile(ratios, (0.975, 0.025))],
            "null": round(float(gaps(units, "null", variant).mean()), 2)}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir")
    parser.add_argument("--only", nargs="+", default=list(STARTS))
    parser.add_argument("--classes", nargs="+", type=int, default=list(CLASSES), help="without a table if not all")
    parser.add_argument("--stages", nargs="+", default=["development", "why", "reported"])
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
    if "why" in asked.stages:  # the development class that TRW is worst at, on all development models
        for name, each in WHY.items():
            store.run(f"why/{name}", lambda u=each: side.bench(7).after(u, dict(enumerate(side.targets))))
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
                 for variant in (*ATTACKS, "score")}  # fmt: skip
    store.save(table=table, below=asked_for)
    for name, each in table.items():
        print(f"{name:16} "
              + "  ".join(f"gap {at} {each[f'gap {at}']:5} +- {each[f'error {at}']:4}" for at in ATTACKS)
              + f"  score {each['score']:5}  "
              + "  ".join(f"{number} {each[number]['mean']:6} +- {each[number]['sd']:6} worst {each[number]['worst']:6}"
                          for number in ("retained", "erased", "KL")))  # fmt: skip
    for name, each in asked_for.items():
        print(name, each)


if __name__ == "__main__":
    main()
