"""What holds for each scenario of the catalog, on toy data with owners and a public part."""

import json

import pytest

from erasable import catalog
from erasable.errors import EmptyRequest, InvalidData, SettingsError, TaskMismatch
from erasable.tasks.language import NextToken
from tests.scenarios.toy import TASK, TEST, outputs, scores, toy
from tests.toys import sentences

CASES = {  # settings, and what else the call needs
    "random": ({}, lambda data: {}),
    "owner": ({"least": 2}, lambda data: {}),
    "class": ({"label": 2}, lambda data: {"test": TEST}),
    "subclass": ({"column": "fine"}, lambda data: {"test": TEST}),
    "memorisation": ({}, lambda data: {"scores": scores(data)}),
    "mislabelled": ({"share": 0.1}, lambda data: {}),
    "interclass-confusion": ({}, lambda data: {"test": TEST}),
    "duplicates": ({}, lambda data: {}),
    "bias-conflicting": ({"column": "bias"}, lambda data: {"test": TEST}),
    "sequential": ({"share": 0.02}, lambda data: {}),
    "adaptive": ({"share": 0.1}, lambda data: {"seen": outputs(data)}),
}


def made(name, data=None, seed=0, **changed):
    settings, more = CASES[name]
    data = toy() if data is None else data
    return catalog.SCENARIOS[name](**(settings | changed))(data, TASK, seed=seed, **more(data))


def fitting(name):
    """Each class has public samples in the toy data; whole classes and kinds need some that have none."""
    data = toy()
    return data if name not in ("class", "subclass") else data.without(data.public.ids)


def test_each_scenario_is_tried_here():
    assert set(CASES) == set(catalog.SCENARIOS)


@pytest.mark.parametrize("name", CASES)
def test_requests_can_be_carried_out_and_the_data_given_never_change(name):
    data = fitting(name)
    before = data.digest()
    scenario = made(name, data)
    assert data.digest() == before
    asked = [each for request in scenario.requests for each in request.ids]
    assert 0 < len(set(asked)) == len(asked) < len(scenario.data)
    assert set(asked) <= set(scenario.data.ids)
    assert set(asked).isdisjoint(data.public.ids)
    assert set(data.ids) <= set(scenario.data.ids)
    for group in scenario.groups.values():
        assert len(group)
        assert set(group.ids) <= set(scenario.data.ids) or set(group.ids) <= set(TEST.ids)
    assert scenario.truth.startswith("Tests ")
    assert scenario.truth.endswith(".")
    read = json.loads(json.dumps(scenario.record()))
    assert read["facts"]["seed"] == 0
    assert [each["ids"] for each in read["requests"]] == [list(each.ids) for each in scenario.requests]


@pytest.mark.parametrize("name", CASES)
def test_the_seed_decides(name):
    data = fitting(name)

    def record(seed):
        return made(name, data, seed).record()

    assert record(3) == record(3)
    if name != "class":  # it is named here
        chosen = {json.dumps([each["ids"] for each in record(seed)["requests"]]) for seed in range(6)}
        assert len(chosen) > 1 or name == "adaptive"  # no two leads are equal


@pytest.mark.parametrize("name", [name for name in CASES if "share" in vars(catalog.SCENARIOS[name](**CASES[name][0]))])
def test_shares_out_of_range_are_refused(name):
    for wrong in (0.0, -0.1, 1.5, float("nan")):
        with pytest.raises(SettingsError, match="share="):
            made(name, share=wrong)


@pytest.mark.parametrize("name", ["random", "mislabelled", "duplicates", "sequential", "adaptive"])
def test_more_than_may_be_erased_is_refused(name):
    with pytest.raises((SettingsError, EmptyRequest)):
        made(name, share=1.0)


@pytest.mark.parametrize("name", ["class", "subclass", "mislabelled", "interclass-confusion", "bias-conflicting"])
def test_a_task_without_labels_is_refused(name):
    settings, more = CASES[name]
    lines = sentences()
    task = NextToken.of(lines)
    with pytest.raises(TaskMismatch, match="no column of labels"):
        catalog.SCENARIOS[name](**settings)(lines, task, seed=0, **more(toy()))


@pytest.mark.parametrize("name", ["random", "duplicates", "sequential"])
def test_texts_do_as_well_where_no_label_is_needed(name):
    lines = sentences()
    scenario = catalog.SCENARIOS[name]()(lines, NextToken.of(lines), seed=0)
    assert set(scenario.requests[0].ids) <= set(lines.ids)


def test_data_that_do_not_fit_the_task_are_refused():
    with pytest.raises(InvalidData):
        catalog.SCENARIOS["random"]()(sentences(), TASK, seed=0)
