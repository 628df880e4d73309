"""Does an erased class look like its nearest neighbour, as it does to models that never had the class? (MIA-NN)

Samples of a class that a model never learned do not spread evenly: they go to a few close classes, automobiles to
trucks. A model in which the class was suppressed or given random labels breaks that, and whoever sees its outputs for
fresh samples of the class notices. From probabilities of the retained classes alone a support vector machine learns,

    variant A   to tell test samples of the erased class from those of its nearest neighbour
    variant B   to tell them from test samples of all retained classes (one against the rest)

    nearest neighbour = argmax over retained c of the oracles' mean p_c on test samples of the erased class

The value is its accuracy in cross-validation inside each model's own outputs, both sides equally large: 50 % is an
erased class that looks just like the others. That is not the goal: the oracles' own values are, each with the neighbour
that the other oracles name. It judges a class, not the membership of any sample, and needs no training data.

A. Ebrahimpour-Boroojeny, Y. Wang, H. Sundaram, *On the Necessity of Output Distribution Reweighting for Effective Class
Unlearning* (2025, arXiv 2506.20893). Their text leaves open the features, the machine and its settings, and what
exactly the discriminators per class are asked: here all retained classes, not normalised again, a radial kernel with
scikit-learn's defaults (C = 1, gamma "scale"), and B as above. `features="log-probabilities"` shows what a model that
is sure of its answer thinks of the others; which of the two tells more depends on the models.
"""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from erasable._plumbing.seeds import generator
from erasable.errors import EvidenceError, Misaligned, PopulationTooSmall, SettingsError
from erasable.evidence import Evidence, Finding, aligned, binomial_interval

Variant = Literal["A", "B"]
Kernel = Literal["rbf", "linear"]
Features = Literal["probabilities", "log-probabilities"]

FEATURES = ("probabilities", "log-probabilities")
CAP = 1_000  # samples per side: fitting grows with the square
FOLDS = 5
LEAST = 2 * FOLDS  # samples per side
ORACLES = 3  # with two left to name the neighbour of each


def nearest_neighbour(
    target: Evidence,
    oracles: Evidence,
    labels: Tensor,
    *,
    erased: int,
    subject: str,
    variant: Variant = "A",
    kernel: Kernel = "rbf",
    features: Features = "probabilities",
    seed: int = 0,
) -> Finding:
    """From `log_probabilities` on test samples of every class; `labels` (samples,) are the right answers.

    Raises Misaligned, PopulationTooSmall for fewer than three different oracles, EvidenceError for fewer than ten test
    samples of a class that is asked for, SettingsError for an unknown choice or class.
    """
    aligned(target, oracles, at_least=ORACLES)
    _check(target, labels, erased)
    _different(oracles)
    neighbour = neighbour_of(oracles, labels, erased=erased)

    def of(models: Evidence, nearest: int) -> list[float]:
        return recognised(models, labels, erased=erased, neighbour=nearest, variant=variant, kernel=kernel,
                          features=features, seed=seed)  # fmt: skip

    values, null = of(target, neighbour), []
    for at in range(oracles.models):
        null += of(oracles.model(at), neighbour_of(_but(oracles, at), labels, erased=erased))
    value, n = sum(values) / len(values), 2 * len(_sides(labels, erased, neighbour, variant, seed)[0])
    low, high = binomial_interval(value / 100 * n, n)
    spread = torch.tensor(null, dtype=torch.float64)
    note = (f"class {erased} against {f'its nearest, {neighbour}' if variant == 'A' else 'all others'}; "
            f"{abs(value - float(spread.mean())):.1f} points from the oracles' mean, their deviation "
            f"{float(spread.std()):.1f}")  # fmt: skip
    return Finding(metric=f"MIA-NN {variant}", subject=subject, value=value, unit="%", n=n, models=target.models,
                   interval=(100 * low, 100 * high), direction="match", resolution=100 / n,
                   note=note).beside(null)  # fmt: skip


def neighbour_of(log_p: Evidence, labels: Tensor, *, erased: int) -> int:
    """The retained class that models, on average, find most probable for samples of the erased one."""
    _check(log_p, labels, erased)
    asked = labels == erased
    if not bool(asked.any()):
        raise EvidenceError(f"no test sample of class {erased}", expected=f"at least {LEAST}",
                            do="give test samples of every class")  # fmt: skip
    probability = log_p.values[:, asked].double().exp().mean(dim=(0, 1))
    probability[erased] = -1.0
    return int(probability.argmax())


def recognised(
    log_p: Evidence,
    labels: Tensor,
    *,
    erased: int,
    neighbour: int,
    variant: Variant = "A",
    kernel: Kernel = "rbf",
    features: Features = "probabilities",
    seed: int = 0,
) -> list[float]:
    """How often samples are put on the right side, in %, one value per model: 50 is guessing."""
    from sklearn.svm import SVC

    _check(log_p, labels, erased)
    given = (variant, kernel, features)
    if variant not in ("A", "B") or kernel not in ("rbf", "linear") or features not in FEATURES:
        raise SettingsError(f"variant, kernel and features {given}", do="choose one of these",
                            expected=f"A or B; rbf or linear; {' or '.join(FEATURES)}")  # fmt: skip
    inside, outside = _sides(labels, erased, neighbour, variant, seed)
    stay = [each for each in range(log_p.values.shape[-1]) if each != erased]
    asked = log_p.values[:, torch.cat([inside, outside])][..., stay].double().cpu()
    seen = (asked.exp() if features == "probabilities" else asked).numpy()
    truth = np.repeat([1, 0], len(inside))
    fold = np.tile(np.arange(len(inside)) % FOLDS, 2)  # rows are shuffled already
    found = []
    for rows in seen:
        right = 0
        for held in range(FOLDS):
            known = fold != held
            machine = SVC(C=1.0, kernel=kernel, gamma="scale").fit(rows[known], truth[known])
            right += int((machine.predict(rows[~known]) == truth[~known]).sum())
        found.append(100 * right / len(truth))
    return found


def _sides(labels: Tensor, erased: int, neighbour: int, variant: Variant, seed: int) -> tuple[Tensor, Tensor]:
    """Equally many positions of samples of the erased class and of those that it is told from, in random order.

    They depend on the seed and the classes alone, so that models with the same neighbour are asked the same.
    """
    draws = generator(seed, "nearest_neighbour", variant, erased, neighbour if variant == "A" else "rest")
    rest = labels == neighbour if variant == "A" else labels != erased
    sides = [torch.nonzero(each.cpu()).flatten() for each in (labels == erased, rest)]
    size = min(CAP, *map(len, sides))
    if size < LEAST:
        told = f"class {neighbour}" if variant == "A" else "retained classes"
        raise EvidenceError(f"{len(sides[0])} test samples of class {erased}, {len(sides[1])} of {told}",
                            expected=f"at least {LEAST} of each", do="give more test samples")  # fmt: skip
    inside, outside = (each[torch.randperm(len(each), generator=draws)[:size]] for each in sides)
    return inside, outside


def _check(log_p: Evidence, labels: Tensor, erased: int) -> None:
    if log_p.values.ndim != 3 or labels.shape != (len(log_p.ids),):
        raise Misaligned(f"'{log_p.signal}' {tuple(log_p.values.shape)} and labels {tuple(labels.shape)}",
                         expected="log-probabilities (models, samples, classes) and a label per sample",
                         do="collect the signal log_probabilities")  # fmt: skip
    if not 0 <= erased < log_p.values.shape[2] or log_p.values.shape[2] < 3:
        raise SettingsError(f"class {erased} of {log_p.values.shape[2]}", expected="one of at least three classes",
                            do="name the class that was erased, by its number")  # fmt: skip


def _different(oracles: Evidence) -> None:
    """A model beside itself shows no noise, and everything would stand out against it, or nothing."""
    for at in range(oracles.models):
        for other in range(at):
            if oracles.values[at].equal(oracles.values[other]):
                raise PopulationTooSmall(f"oracles {other} and {at} give the same outputs",
                                         expected=f"at least {ORACLES} different ones",
                                         do="train oracles with different seeds")  # fmt: skip


def _but(evidence: Evidence, index: int) -> Evidence:
    others = [at for at in range(evidence.models) if at != index]
    return Evidence(evidence.signal, evidence.ids, evidence.values[others], evidence.member[others])
