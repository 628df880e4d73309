"""Everything that has a name: literal dictionaries of name -> where it is.

    catalog.METHODS["spm"]                     the class; its module is imported when it is asked for
    catalog.get("unlearners", "my.code:Mine")  anyone's class, given as package.module:Name
    catalog.name_of(SPM())                     "spm"
    catalog.families()                         family -> name -> what it is, in one line

Importing this module imports none of them. A file may name what is in these dictionaries and nothing else: never pass
what was read from a run folder to `get`, which imports whatever it is told to.
"""

import ast
import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from erasable.errors import UnknownName, nearest_names


class Family(Mapping[str, Any]):
    """name -> class or function, imported when it is looked up."""

    def __init__(self, kind: str, places: Mapping[str, str]) -> None:
        self.kind, self.places = kind, dict(places)

    def __getitem__(self, name: str) -> Any:
        """Raises UnknownName."""
        if name not in self.places:
            raise UnknownName(f"{self.kind} '{name}'", expected="a name of the catalog",
                              do=nearest_names(name, self.places))  # fmt: skip
        return _load(self.places[name])

    def __contains__(self, name: object) -> bool:
        return name in self.places

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self else default  # noqa: SIM401 (this is what it would call)


METHODS = Family("method", {
    "network": "erasable.network:Network",
    "spm": "erasable.forgettable.spm:SPM",
    "munkey": "erasable.forgettable.munkey:MUNKEY",
    "sisa": "erasable.forgettable.sisa:SISA",
    "amnesiac": "erasable.forgettable.amnesiac:Amnesiac",
    "nearest-mean": "erasable.forgettable.nearest_mean:NearestMean",
    "knn": "erasable.forgettable.knn:KNN",
    "logit-mask": "erasable.forgettable.logit_mask:LogitMask",
})  # fmt: skip

UNLEARNERS = Family("unlearner", {
    "nothing": "erasable.unlearners.nothing:Nothing",
    "retrain": "erasable.unlearners.retrain:Retrain",
    "finetune": "erasable.unlearners.finetune:FineTune",
    "gradient-ascent": "erasable.unlearners.gradient_ascent:GradientAscent",
    "bad-teacher": "erasable.unlearners.bad_teacher:BadTeacher",
    "boundary-expand": "erasable.unlearners.boundary_expand:BoundaryExpand",
    "boundary-shrink": "erasable.unlearners.boundary_shrink:BoundaryShrink",
    "cf-k": "erasable.unlearners.last_layers:CFk",
    "ct": "erasable.unlearners.ct:CT",
    "cupid": "erasable.unlearners.cupid:CUPID",
    "entanglement": "erasable.unlearners.entanglement:Entanglement",
    "eu-k": "erasable.unlearners.last_layers:EUk",
    "fisher": "erasable.unlearners.fisher:Fisher",
    "forsaken": "erasable.unlearners.forsaken:Forsaken",
    "geometric-disentanglement": "erasable.unlearners.geometric_disentanglement:GeometricDisentanglement",
    "iau": "erasable.unlearners.iau:IAU",
    "influence": "erasable.unlearners.influence:Influence",
    "l1-sparse": "erasable.unlearners.l1_sparse:L1Sparse",
    "low-influence": "erasable.unlearners.low_influence:LowInfluence",
    "min-norm": "erasable.unlearners.min_norm:MinNorm",
    "msg": "erasable.unlearners.msg:MSG",
    "neggrad-plus": "erasable.unlearners.neggrad_plus:NegGradPlus",
    "noisy-descent": "erasable.unlearners.noisy_descent:NoisyDescent",
    "random-labels": "erasable.unlearners.random_labels:RandomLabels",
    "salun": "erasable.unlearners.salun:SalUn",
    "scrub": "erasable.unlearners.scrub:SCRUB",
    "ssd": "erasable.unlearners.ssd:SSD",
    "trw": "erasable.unlearners.trw:TRW",
    "unsir": "erasable.unlearners.unsir:UNSIR",
})  # fmt: skip

DATASETS = Family("data set", {
    "digits": "erasable.datasets.digits:digits",
    "breast-cancer": "erasable.datasets.breast_cancer:breast_cancer",
    "mnist": "erasable.datasets.mnist:mnist",
    "fashion-mnist": "erasable.datasets.fashion_mnist:fashion_mnist",
    "cifar10": "erasable.datasets.cifar10:cifar10",
    "text": "erasable.datasets.text:text",
    "image-folder": "erasable.datasets.image_folder:image_folder",
    "npz": "erasable.datasets.npz:npz",
    "npy-folder": "erasable.datasets.npy_folder:npy_folder",
    "table": "erasable.datasets.table:table",
    "huggingface": "erasable.datasets.huggingface:huggingface",
})  # fmt: skip

TASKS = Family("task", {
    "classification": "erasable.tasks.classification:Classification",
    "next-token": "erasable.tasks.language:NextToken",
    "regression": "erasable.tasks.regression:Regression",
})  # fmt: skip

MODELS = Family("encoder", {  # the same as `_plumbing/architecture.py`, which builds them
    "mlp": "erasable.models.mlp:MLP",
    "convnet": "erasable.models.convnet:ConvNet",
    "resnet": "erasable.models.resnet:ResNet",
    "vit": "erasable.models.vit:ViT",
    "pretrained": "erasable.models.pretrained:Pretrained",
    "gpt": "erasable.models.gpt:GPT",
})  # fmt: skip

SIGNALS = Family("signal", {
    "loss": "erasable.signals.loss:loss",
    "confidence": "erasable.signals.confidence:confidence",
    "correct": "erasable.signals.correct:correct",
    "prediction": "erasable.signals.prediction:prediction",
    "log-probabilities": "erasable.signals.log_probabilities:log_probabilities",
    "margin": "erasable.signals.margin:margin",
    "entropy": "erasable.signals.entropy:entropy",
    "modified-entropy": "erasable.signals.modified_entropy:modified_entropy",
    "neighbour-margin": "erasable.signals.neighbour_margin:neighbour_margin",
})  # fmt: skip

ATTACKS = Family("attack", {
    "svc-confidence": "erasable.attacks.svc_confidence:svc_confidence",
    "difficulty-calibration": "erasable.attacks.difficulty_calibration:difficulty_calibration",
    "oracle-lira": "erasable.attacks.oracle_lira:oracle_lira",
    "threshold": "erasable.attacks.threshold:threshold",
    "ulira": "erasable.attacks.ulira:ulira",
    "ulira-retained": "erasable.attacks.ulira:ulira_retained",
    "lira": "erasable.attacks.lira:lira",
    "rmia": "erasable.attacks.rmia:rmia",
    "nearest-neighbour": "erasable.attacks.nearest_neighbour:nearest_neighbour",
    "logistic": "erasable.attacks.logistic:logistic",
    "delta": "erasable.attacks.delta:delta",
    "delta-fitted": "erasable.attacks.delta:delta_fitted",
})  # fmt: skip

METRICS = Family("metric", {
    "accuracy": "erasable.metrics.accuracy:accuracy",
    "anamnesis": "erasable.metrics.anamnesis:anamnesis",
    "average-gap": "erasable.metrics.average_gap:average_gap",
    "canaries": "erasable.metrics.canaries:canaries",
    "cost": "erasable.metrics.cost:cost",
    "costs": "erasable.metrics.cost:costs",
    "disagreement": "erasable.metrics.disagreement:disagreement",
    "interclass-confusion": "erasable.metrics.interclass_confusion:interclass_confusion",
    "kl": "erasable.metrics.kl:kl",
    "membership": "erasable.metrics.membership:membership",
    "per-class": "erasable.metrics.per_class:per_class",
    "recovery": "erasable.metrics.recovery:recovery",
    "relearning": "erasable.metrics.relearning:relearning",
    "tug-of-war": "erasable.metrics.tug_of_war:tug_of_war",
    "tug-of-war-mia": "erasable.metrics.tug_of_war:tug_of_war_mia",
    "worst-class": "erasable.metrics.per_class:worst_class",
    "js": "erasable.metrics.js:js",
    "activation-distance": "erasable.metrics.activation_distance:activation_distance",
    "zrf": "erasable.metrics.zrf:zrf",
    "klom": "erasable.metrics.klom:klom",
    "energy-distance": "erasable.metrics.energy_distance:energy_distance",
    "challenge-score": "erasable.metrics.challenge_score:challenge_score",
})  # fmt: skip

STRESSES = Family("stress", {
    "relearn": "erasable.stresses.relearn:Relearn",
    "head-refit": "erasable.stresses.head_refit:HeadRefit",
    "linear-probe": "erasable.stresses.linear_probe:LinearProbe",
    "quantize": "erasable.stresses.quantize:Quantize",
    "prune": "erasable.stresses.prune:Prune",
    "finetune": "erasable.stresses.finetune:FineTune",
})  # fmt: skip

SCENARIOS = Family("scenario", {
    "random": "erasable.scenarios.random_share:RandomShare",
    "owner": "erasable.scenarios.one_owner:OneOwner",
    "class": "erasable.scenarios.one_class:OneClass",
    "subclass": "erasable.scenarios.subclass:Subclass",
    "memorisation": "erasable.scenarios.memorisation:Memorisation",
    "mislabelled": "erasable.scenarios.mislabelled:Mislabelled",
    "interclass-confusion": "erasable.scenarios.interclass_confusion:InterclassConfusion",
    "duplicates": "erasable.scenarios.duplicates:Duplicates",
    "bias-conflicting": "erasable.scenarios.bias_conflicting:BiasConflicting",
    "sequential": "erasable.scenarios.sequential:Sequential",
    "adaptive": "erasable.scenarios.adaptive:Adaptive",
})  # fmt: skip

FAMILIES: Mapping[str, Family] = {
    "methods": METHODS, "unlearners": UNLEARNERS, "datasets": DATASETS, "tasks": TASKS, "models": MODELS,
    "signals": SIGNALS, "attacks": ATTACKS, "metrics": METRICS, "stresses": STRESSES,
    "scenarios": SCENARIOS,
}  # fmt: skip


def get(family: str, name: str) -> Any:
    """A catalog entry, or what "package.module:Name" names. Raises UnknownName."""
    if family not in FAMILIES:
        raise UnknownName(f"family '{family}'", expected="a family of the catalog", do=nearest_names(family, FAMILIES))
    if ":" not in name:
        return FAMILIES[family][name]
    try:
        return _load(name)
    except (ImportError, AttributeError) as error:
        raise UnknownName(f"{FAMILIES[family].kind} '{name}' cannot be imported ({error})",
                          expected="package.module:Name", do="check the spelling and PYTHONPATH") from None  # fmt: skip


def name_of(thing: Any) -> str:
    """The name of a class, of an object's class or of a function; "package.module:Name" for what is not in here."""
    kind = thing if isinstance(thing, type) or hasattr(thing, "__qualname__") else type(thing)
    place = f"{kind.__module__}:{kind.__qualname__}"
    names = (name for family in FAMILIES.values() for name, each in family.places.items() if each == place)
    return next(names, place)


def families() -> dict[str, dict[str, str]]:
    """family -> name -> what it is: the first sentence of the file that it stands in, read without importing it."""
    return {
        kind: {name: _sentence(place) for name, place in family.places.items()} for kind, family in FAMILIES.items()
    }


def _load(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def _sentence(place: str) -> str:
    file = Path(__file__).parent.joinpath(*place.partition(":")[0].split(".")[1:]).with_suffix(".py")
    told = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    paragraph = " ".join(told.split("\n\n")[0].split())
    return paragraph.partition(". ")[0].rstrip(".")
