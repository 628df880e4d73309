"""Classification: scaling, augmentation of whole batches against one sample at a time, and what is refused."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from erasable._plumbing.seeds import seeded
from erasable.dataset import Dataset
from erasable.errors import InvalidData, SettingsError, TaskMismatch
from erasable.task import LogitTask, Task
from erasable.tasks.classification import Classification
from tests.toys import blob_task, blobs

LAST = 1 - 2.0**-24  # the largest float32 below 1


def pictures(n=5, shape=(2, 4, 6), seed=0):
    g = torch.Generator().manual_seed(seed)
    return Dataset.of({"image": torch.randint(256, (n, *shape), dtype=torch.uint8, generator=g),
                       "label": torch.arange(n) % 3}, [f"p{i}" for i in range(n)])  # fmt: skip


def everything(task, data):
    return task.batch(data, torch.arange(len(data)))


# --- reading ----------------------------------------------------------------------------------------------------------


def test_nominal_range_becomes_minus_one_to_one():
    data = pictures()
    batch = everything(Classification(shape=(2, 4, 6), classes=3), data)
    expected = (data.read("image").double() / 255 * 2 - 1).float()
    assert batch["inputs"].dtype == torch.float32
    assert torch.allclose(batch["inputs"], expected, atol=1e-6)
    assert float(batch["inputs"].min()) >= -1
    assert torch.equal(batch["labels"], torch.tensor([0, 1, 2, 0, 1]))
    some = Classification(shape=(2, 4, 6), classes=3).batch(data, np.array([3, 1]))
    assert torch.equal(some["inputs"], batch["inputs"][[3, 1]])


def test_each_feature_has_its_own_range():
    x = torch.tensor([[0.0, 100, -1], [10, 300, 0], [5, 200, 1]])
    data = Dataset.of({"x": x, "label": torch.zeros(3, dtype=torch.long)}, ["a", "b", "c"])
    task = Classification(shape=(3,), classes=1, low=(0.0, 100.0, -1.0), high=(10.0, 300.0, 1.0), inputs="x")
    assert torch.allclose(everything(task, data)["inputs"], torch.tensor([[-1.0, -1, -1], [1, 1, 0], [0, 0, 1]]))


def test_each_pixel_has_its_own_range():
    data = pictures(shape=(1, 2, 2))
    low, high = (0.0, 10.0, 20.0, 30.0), (100.0, 200.0, 300.0, 400.0)
    given = Classification(shape=(1, 2, 2), classes=3, low=low, high=high)
    x = data.read("image").double().view(5, 4)
    expected = torch.stack([2 * (x[:, i] - low[i]) / (high[i] - low[i]) - 1 for i in range(4)], 1).view(5, 1, 2, 2)
    assert torch.allclose(everything(given, data)["inputs"].double(), expected, atol=1e-6)


def test_facts_describe_the_task():
    data = blobs(6)
    table = {**data.table.columns}
    facts = {"inputs": "x", "classes": ["a", "b", "c"], "low": [-1, -2], "high": [1, 2], "scaling": "fitted"}
    known = Dataset.of(table, data.ids, facts=facts)
    expected = Classification(shape=(2,), classes=3, low=(-1.0, -2.0), high=(1.0, 2.0), inputs="x", fitted=True)
    assert Classification.of(known) == expected
    facts = {"inputs": "image", "classes": [0], "low": 0, "high": 255, "scaling": "nominal"}
    task = Classification.of(Dataset.of(pictures().table.columns, list("abcde"), facts=facts), shift=2, flip=True)
    assert (task.shape, task.classes, task.low, task.high, task.fitted) == ((2, 4, 6), 1, (0.0,), (255.0,), False)
    assert (task.shift, task.flip, task.draws) == (2, True, 3)


def test_facts_that_do_not_describe_a_task_are_refused():
    facts = {"inputs": "image", "classes": [0], "low": 0, "high": 255}
    for gone in facts:
        less = {name: each for name, each in facts.items() if name != gone}
        with pytest.raises(TaskMismatch, match=gone):
            Classification.of(Dataset.of(pictures().table.columns, list("abcde"), facts=less))
    facts["inputs"] = "picture"
    with pytest.raises(TaskMismatch, match="picture"):
        Classification.of(Dataset.of(pictures().table.columns, list("abcde"), facts=facts))


# --- augmentation -----------------------------------------------------------------------------------------------------


def slowly(x, uniform, shift, flip):
    """One sample, one channel, one row and one pixel at a time; what moves in from outside is the lowest value, -1."""
    out = torch.empty_like(x)
    n, channels, height, width = x.shape
    for i in range(n):
        picture = x[i]
        if flip and float(uniform[i, -1]) < 0.5:
            picture = torch.stack([torch.stack([row[[*range(width)][::-1]] for row in channel]) for channel in picture])
        down, right = (int(float(u) * (2 * shift + 1)) - shift for u in uniform[i, :2]) if shift else (0, 0)
        for c in range(channels):
            for row in range(height):
                for column in range(width):
                    inside = 0 <= row + down < height and 0 <= column + right < width
                    out[i, c, row, column] = picture[c, row + down, column + right] if inside else -1.0
    return out


@pytest.mark.parametrize(("shift", "flip"), [(0, True), (1, False), (2, True), (5, True)])
@given(seed=st.integers(0, 2**31))
def test_augmenting_a_batch_equals_augmenting_each_sample(shift, flip, seed):
    task = Classification(shape=(2, 3, 4), classes=3, shift=shift, flip=flip)
    g = torch.Generator().manual_seed(seed)
    x, uniform = torch.rand(6, 2, 3, 4, generator=g), torch.rand(6, task.draws, generator=g)
    uniform[0], uniform[1], uniform[2] = 0.0, LAST, 0.5
    batch = task.augment({"inputs": x, "labels": torch.arange(6)}, uniform)
    assert torch.equal(batch["inputs"], slowly(x, uniform, shift, flip))
    assert torch.equal(batch["labels"], torch.arange(6))
    assert batch["inputs"].is_contiguous()
    alone = task.augment({"inputs": x[3:4]}, uniform[3:4])["inputs"]
    assert torch.equal(alone, batch["inputs"][3:4])  # no sample's variant depends on another


def test_every_displacement_is_as_likely_and_none_is_missing():
    task = Classification(shape=(1, 5, 5), classes=1, shift=2)
    x = torch.full((1, 1, 5, 5), -1.0)
    x[0, 0, 2, 2] = 1.0
    steps = (torch.arange(5000) + 0.5) / 5000
    uniform = torch.stack([steps, torch.full_like(steps, 0.5)], 1)
    moved = task.augment({"inputs": x.expand(5000, -1, -1, -1)}, uniform)["inputs"]
    rows = moved[:, 0, :, 2].argmax(1)  # 0.5 is no displacement to the side
    assert torch.bincount(rows).tolist() == [1000] * 5


def test_the_identity_is_among_the_variants():
    task = Classification(shape=(2, 3, 4), classes=3, shift=1, flip=True)
    x = torch.rand(1, 2, 3, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(task.augment({"inputs": x}, torch.tensor([[0.5, 0.5, 0.9]]))["inputs"], x)
    assert torch.equal(task.augment({"inputs": x}, torch.tensor([[0.5, 0.5, 0.1]]))["inputs"], x.flip(-1))


@pytest.mark.parametrize(("shift", "flip", "draws"), [(0, False, 0), (0, True, 1), (3, False, 2), (3, True, 3)])
def test_draws(shift, flip, draws):
    assert Classification(shape=(1, 4, 4), classes=2, shift=shift, flip=flip).draws == draws


# --- answers ----------------------------------------------------------------------------------------------------------


def test_losses_by_hand():
    task, data = blob_task(), blobs(6)
    with seeded(0, "weights"):
        model = nn.Linear(2, 3)
    batch = everything(task, data)
    logits = batch["inputs"] @ model.weight.T + model.bias
    expected = torch.stack([-logits[i].exp().div(logits[i].exp().sum())[i % 3].log() for i in range(6)])
    assert torch.allclose(task.losses(model, batch), expected, atol=1e-6)
    assert torch.allclose(task.logits(model, batch), logits, atol=1e-6)
    assert torch.equal(task.labels(batch), data.read("label"))
    assert isinstance(task, Task)
    assert isinstance(task, LogitTask)


# --- refusals ---------------------------------------------------------------------------------------------------------


def labelled(labels, x=None):
    n = len(labels)
    return Dataset.of({"x": torch.zeros(n, 2) if x is None else x, "label": labels}, [f"s{i}" for i in range(n)])


@pytest.mark.parametrize(("data", "told"), [
    (labelled(torch.tensor([0, 1, 3])), "label 3 of id 's2'"),
    (labelled(torch.tensor([0, -1, 2])), "label -1 of id 's1'"),
    (labelled(torch.tensor([0.0, 1.5, 2.0])), "label 1.5 of id 's1'"),
    (labelled(torch.zeros(2, 2, dtype=torch.long)), "numbers per sample"),
    (labelled(torch.tensor([0, 1]), torch.zeros(2, 3)), r"have the shape \(3,\)"),
    (Dataset.of({"y": torch.zeros(2, 2), "label": torch.zeros(2)}, ["a", "b"]), "no column 'x'"),
    (Dataset.of({"x": torch.zeros(2, 2)}, ["a", "b"]), "no column 'label'"),
])  # fmt: skip
def test_data_that_do_not_fit_are_refused(data, told):
    with pytest.raises(InvalidData, match=told) as caught:
        blob_task().check(data)
    assert "\n" not in str(caught.value)


def test_data_that_fit_pass_whatever_type_their_labels_have():
    for kind in (torch.uint8, torch.int32, torch.int64, torch.float32):
        blob_task().check(labelled(torch.tensor([0, 1, 2]).to(kind)))
    blob_task(2).check(labelled(torch.tensor([True, False])))
    only = labelled(torch.tensor([0, 1, 3])).take(torch.tensor([0, 1]))
    blob_task().check(only)  # a view is checked, not its table


@pytest.mark.parametrize("wrong", [
    {"classes": 0}, {"shape": ()}, {"shape": (0,)}, {"low": (0.0, 1.0, 2.0)}, {"low": (0.0, 0.0), "high": (1.0,) * 3},
    {"low": (255.0,)}, {"low": (0.0, 300.0)}, {"low": ()}, {"shift": 1}, {"flip": True}, {"shift": -1},
    {"high": (float("nan"),)},
])  # fmt: skip
def test_settings_are_checked(wrong):
    with pytest.raises(SettingsError) as caught:
        Classification(**{"shape": (2,), "classes": 2, **wrong})
    assert "\n" not in str(caught.value)
