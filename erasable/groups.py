"""What a scenario asks for besides the erased samples: its groups, its wrong labels, its classes.

A copy that stays, a class that was confused, a canary with its right label: averages over erased samples say nothing of
them. These numbers are shown and decide no status. The oracles' values are the goal.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from erasable._plumbing.batching import labels_of
from erasable.attacks.oracle_lira import findings as oracle_lira_findings
from erasable.attacks.oracle_lira import oracle_lira
from erasable.dataset import Dataset
from erasable.evidence import Evidence, Finding, exposed, joint
from erasable.metrics import accuracy, canaries, interclass_confusion, per_class
from erasable.population import Population
from erasable.scenario import Scenario
from erasable.signals import correct_of, log_probabilities, prediction_of
from erasable.signals.margin import margin_of

TOLD = {
    "canaries": "erased samples that are answered with their own wrong label",
    "IC-Err": "wrong answers on test samples of the two classes",
    "Fgt-Err": "test samples of one of the two classes that are taken for the other",
}


def beside(
    scenario: Scenario, test: Dataset, task: Any, models: Mapping[str, Any], oracles: Population
) -> dict[str, tuple[Finding, ...]]:
    """Of each model by name, what the scenario asks for besides the erased samples, with the oracles' values.

    Accuracy on every group and, with three oracles or more, how much surer than they the model is of each of its
    samples (50 = alike); how often wrong labels are given back; whether two classes are still confused; every class.
    """
    asked, facts = scenario.data.only([each for one in scenario.requests for each in one.ids]), scenario.facts
    views = {**scenario.groups, "": asked, "test": test}
    everyone = [*models.values(), *oracles]
    said = {name: log_probabilities(everyone, task, view, fitted=exposed(everyone, view.ids))
            for name, view in views.items()}  # fmt: skip
    labels = {name: labels_of(task, view).cpu() for name, view in views.items()}
    found: dict[str, tuple[Finding, ...]] = {}
    for i, subject in enumerate(models):
        own = {name: each.model(i) for name, each in said.items()}
        known = {name: _from(each, len(models)) for name, each in said.items()}
        numbers: list[Finding] = []
        for group in scenario.groups:
            numbers += _of_group(own[group], known[group], labels[group], group, subject)
        if "wrong" in facts:
            numbers.append(canaries(prediction_of(own[""]), facts["wrong"], prediction_of(known[""]), subject=subject))
        if "pair" in facts:
            at = "confused test samples"
            numbers += interclass_confusion(prediction_of(own[at]), labels[at], tuple(facts["pair"]),
                                            prediction_of(known[at]), subject=subject)  # fmt: skip
        if "pair" in facts or "label" in facts:
            right = [correct_of(each["test"], labels["test"]) for each in (own, known)]
            names = [str(each) for each in scenario.data.facts.get("classes", ())]
            numbers += per_class(right[0], labels["test"], right[1], subject=subject, on="test", names=names)
        told = [each.model_copy(update={"note": each.note or TOLD.get(each.metric, "")}) for each in numbers]
        found[subject] = joint(told)
    return found


def _of_group(own: Evidence, known: Evidence, labels: Tensor, group: str, subject: str) -> list[Finding]:
    found = [accuracy(correct_of(own, labels), correct_of(known, labels), subject=subject, on=group)
             .model_copy(update={"metric": f"accuracy, {group}"})]  # fmt: skip
    if known.models >= 3:
        attacked = oracle_lira_findings(oracle_lira(margin_of(own, labels), margin_of(known, labels)), subject=subject)
        told = {"metric": f"surer than oracles, {group}", "note": "AUC of the per-sample attack; 50 is as sure as they"}
        found.append(attacked[0].model_copy(update=told))
    return found


def _from(evidence: Evidence, first: int) -> Evidence:
    """All models but the first few."""
    return Evidence(evidence.signal, evidence.ids, evidence.values[first:], evidence.member[first:])
