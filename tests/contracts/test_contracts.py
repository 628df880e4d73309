"""The contracts over everything in the catalog, on toy tasks; and fakes that break each promise."""

import dataclasses
from pathlib import Path

import pytest
import torch

from erasable import catalog
from erasable.contracts import check_forgettable, check_method, check_task, check_unlearner
from erasable.datasets.text import text
from erasable.errors import ErasableError, RequestError, TaskMismatch
from erasable.network import Network
from erasable.tasks.language import NextToken
from erasable.tasks.regression import Regression
from erasable.train import Recipe
from erasable.unlearner import Forgettable
from erasable.unlearners.gradient_ascent import GradientAscent
from erasable.unlearners.neggrad_plus import NegGradPlus
from tests.toys import TINY, blob_task, blobs, curve, sentences

BLOBS = blobs(60, owners=12).declare_public(blobs().ids[:20])
LINES = sentences()
SHORT = dataclasses.replace(TINY, epochs=2)
SMALL = {"network": "mlp width=6", "recipe": SHORT}
GPT = {"network": "gpt width=8 depth=1 heads=2", "recipe": Recipe(epochs=2, batch=8, lr=0.01, optimizer="adamw")}
MUNKEY = {"network": "vit patch=1 width=8 depth=1 heads=2", "key_network": "mlp width=6", "value_width": 8,
          "neighbours": 3, "recipe": SHORT}  # fmt: skip

TOYS = {"classification": (BLOBS, blob_task()), "next-token": (LINES, NextToken.of(LINES)),
        "regression": (curve(), Regression(shape=(1,)))}  # fmt: skip
SETTINGS = {  # one line per variant whose code differs
    "classification": {
        "network": [SMALL, {**SMALL, "gradient_penalty": 0.01}],
        "spm": [
            SMALL,
            {**SMALL, "encoder": "public"},
            {**SMALL, "encoder": "public", "similarity": "covariance"},
            {**SMALL, "training": "episodes", "support": 12},
            {**SMALL, "retrieval": "nearest", "neighbours": 5},
        ],
        "munkey": [
            MUNKEY,
            {**MUNKEY, "phases": 2, "value_steps": 3},
            {**MUNKEY, "keys": "pixels", "phases": 2, "value_steps": 3, "values": "shared", "aggregation": "rank"},
        ],
        "sisa": [{**SMALL, "shards": 3, "slices": 2}, {**SMALL, "shards": 2, "aggregate": "vote"}],
        "amnesiac": [SMALL, {**SMALL, "half": True, "repair_epochs": 1}],
        "nearest-mean": [SMALL],
        "knn": [{**SMALL, "neighbours": 3}],
        "logit-mask": [SMALL],
    },
    "next-token": {
        "network": [GPT],
        "sisa": [{**GPT, "shards": 2, "slices": 2}],
        "amnesiac": [GPT, {**GPT, "repair_epochs": 1}],
    },
    "regression": {"network": [SMALL], "amnesiac": [SMALL]},
}
UNLEARNERS = {  # where defaults are too slow, or are not enough
    "finetune": {"epochs": 1},
    "gradient-ascent": {"epochs": 2},
    "trw": {"epochs": 1},
    "boundary-shrink": {"epochs": 1, "lr": 0.01},
    "boundary-expand": {"epochs": 1, "lr": 0.01},
    "noisy-descent": {"steps": 3},
    "unsir": {"noise_steps": 3, "copies": 2, "batch": 8},
    "min-norm": {"epochs": 2, "settle": 1},
    "bad-teacher": {"batch": 16},
    "cf-k": {"epochs": 1},
    "ct": {"epochs": 1},
    "eu-k": {"epochs": 1},
    "l1-sparse": {"epochs": 2},
    "msg": {"epochs": 1},
    "neggrad-plus": {"epochs": 2},
    "random-labels": {"epochs": 2},
    "salun": {"epochs": 2},
    "scrub": {"lr": 0.01},
    "low-influence": {"inner": GradientAscent(epochs=2)},
    "forsaken": {"reference": (0.4, 0.3, 0.3), "epochs": 2},
    "entanglement": {"epochs": 2, "repair_epochs": 1},
    "geometric-disentanglement": {"inner": NegGradPlus(epochs=2)},
}
# unlearners that refuse a task without a finite set of answers:
LABELLED = {"boundary-expand", "boundary-shrink", "fisher", "forsaken", "random-labels", "salun", "trw", "unsir"}
# unlearners that compare probabilities, and so refuse a task whose answer is numbers:
ANSWERING = {"bad-teacher", "scrub"}
KERNELS = {"ct"}  # unlearners that refuse a network without convolutions
WHOLE_CLASSES = {"trw", "unsir"}  # unlearners that refuse to erase a part of a class

CASES = [(task, name, each) for task, methods in SETTINGS.items() for name, given in methods.items() for each in given]
IDS = [f"{task}-{name}-{i}" for i, (task, name, _) in enumerate(CASES)]


def erasable_ids(data):
    ids = data.private.ids
    return [ids[3], ids[11], ids[4]]


def test_every_method_and_task_has_toy_settings():
    assert set(SETTINGS["classification"]) == set(catalog.METHODS)
    assert set(SETTINGS) == set(TOYS) == set(catalog.TASKS)


@pytest.mark.parametrize(("task_name", "name", "settings"), CASES, ids=IDS)
def test_methods(task_name, name, settings):
    data, task = TOYS[task_name]
    check_method(catalog.METHODS[name](**settings), data, task, tolerance=1e-3)


@pytest.mark.parametrize(("task_name", "name", "settings"), CASES, ids=IDS)
def test_forgettable(task_name, name, settings):
    data, task = TOYS[task_name]
    if name == "network":
        assert not isinstance(Network(**settings).train(data, task, seeds=[0])[0], Forgettable)
        return
    check_forgettable(catalog.METHODS[name](**settings), data, task, ids=erasable_ids(data))


@pytest.mark.parametrize("task_name", TOYS)
@pytest.mark.parametrize("name", catalog.UNLEARNERS)
def test_unlearners(name, task_name):
    data, task = TOYS[task_name]
    unlearner = catalog.UNLEARNERS[name](**UNLEARNERS.get(name, {}))
    method, ids = Network(**SETTINGS[task_name]["network"][0]), erasable_ids(data)
    refused = {"classification": set(), "next-token": LABELLED, "regression": LABELLED | ANSWERING}[task_name]
    if name in refused:
        with pytest.raises(TaskMismatch):
            check_unlearner(unlearner, method, data, task, ids=ids)
        return
    if name in KERNELS:
        with pytest.raises(TaskMismatch):
            check_unlearner(unlearner, method, data, task, ids=ids)
        data = catalog.DATASETS["digits"]().take(torch.arange(40))
        task, ids = catalog.TASKS["classification"].of(data), data.ids[:3]
        method = Network(network="convnet widths=8", recipe=SHORT)
    if name in WHOLE_CLASSES:
        with pytest.raises(RequestError):
            check_unlearner(unlearner, method, data, task, ids=ids)
        data = blobs(60)
        ids = data.where("label", 1).ids
    check_unlearner(unlearner, method, data, task, ids=ids)


@pytest.mark.parametrize("task_name", TOYS)
def test_tasks(task_name):
    data, task = TOYS[task_name]
    torch.manual_seed(0)
    check_task(task, data, Network(**SETTINGS[task_name]["network"][0]).build(task))


def test_augmented_pictures():
    digits = catalog.DATASETS["digits"]()
    task = catalog.TASKS["classification"].of(digits, shift=1, flip=True)
    torch.manual_seed(0)
    check_task(task, digits.take(torch.arange(8)), Network(network="convnet widths=8,8").build(task))


@pytest.mark.parametrize("task_name", ["next-token", "regression"])
@pytest.mark.parametrize("name", catalog.METHODS)
def test_methods_for_classes_refuse_text_and_numbers(name, task_name):
    if name not in SETTINGS[task_name]:
        data, task = TOYS[task_name]
        with pytest.raises(ErasableError):
            catalog.METHODS[name]().train(data, task, seeds=[0])


def test_real_text():
    folder = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "text"
    if not folder.is_dir():
        pytest.skip("no folder of texts beside the repository")
    data = text(folder / "frankenstein.txt", context=15)
    task, data = NextToken.of(data), data.take(torch.arange(48))
    method = Network(**GPT)
    check_task(task, data, method.build(task))
    check_method(method, data, task, tolerance=1e-3)
