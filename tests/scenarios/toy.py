"""Data that every scenario can be made of."""

import torch

from erasable.dataset import Dataset
from erasable.evidence import Evidence
from tests.toys import blob_task, blobs

TASK = blob_task()


def toy(n=60, *, owners=7, seed=0):
    """Blobs whose `fine` splits each class in two and whose `bias` follows the class in four of five samples."""
    plain = blobs(n, owners=owners, seed=seed)
    label, rows = plain.read("label"), torch.arange(n)
    bias = torch.where(rows % 5 == 4, (label + 1) % 3, label)
    columns = {"x": plain.read("x"), "label": label, "fine": 2 * label + (rows // 3) % 2, "bias": bias}
    data = Dataset.of(columns, plain.ids, owners=plain.owners, name="toy", facts=plain.facts)
    return data.declare_public(data.ids[:6] if owners is None else data.owned_by("person 0").ids)


def renamed(data):
    """The same samples without owners, under other ids: test data."""
    columns = {key: data.read(key) for key in data.table.columns}
    return Dataset.of(columns, [f"test/{i}" for i in range(len(data))], name="toy test", facts=data.facts)


TEST = renamed(toy(30, owners=None, seed=1))


def outputs(data, seed=0):
    """Made-up outputs of one model."""
    values = torch.randn(1, len(data), 3, generator=torch.Generator().manual_seed(seed)).double().log_softmax(2)
    return Evidence("log_probabilities", data.ids, values, torch.ones(1, len(data), dtype=torch.bool))


def scores(data):
    """Made-up memorisation, with many equal scores."""
    return {each: float(i % 3) for i, each in enumerate(data.ids)}
