"""Runs of the methods themselves: what is stored answers as before, and erasing from the folder erases."""

import pytest
import torch

from erasable import catalog
from erasable.run import Run
from erasable.unlearner import weights_digest
from erasable.unlearners.retrain import Retrain
from tests.toys import TINY, blob_task, blobs

DATA = blobs(60, owners=12).declare_public([f"blob/{i:03d}" for i in range(0, 60, 4)])
METHODS = {
    "network": {"network": "mlp width=8", "recipe": TINY},
    "spm": {"network": "mlp width=8", "recipe": TINY},
    "spm, public encoder": {"network": "mlp width=8", "recipe": TINY, "encoder": "public"},
    "knn": {"network": "mlp width=8", "recipe": TINY},
    "nearest-mean": {"network": "mlp width=8", "recipe": TINY},
    "logit-mask": {"network": "mlp width=8", "recipe": TINY},
    "sisa": {"network": "mlp width=8", "recipe": TINY, "shards": 3},
    "amnesiac": {"network": "mlp width=8", "recipe": TINY},
    "amnesiac, repaired": {"network": "mlp width=8", "recipe": TINY, "half": True, "repair_epochs": 1},
}
GONE = ["blob/001", "blob/017", "blob/042"]


@pytest.mark.parametrize("what", METHODS)
def test_a_run_of_each_method(tmp_path, what):
    name, task = what.partition(",")[0], blob_task()
    method = catalog.METHODS[name](**METHODS[what])
    model = method.train(DATA, task, seeds=[3])[0]
    inputs = task.batch(DATA, torch.arange(60))["inputs"]
    run = Run.create(tmp_path / "run", model, data=DATA, spec={"name": "blobs"})
    assert run.manifest["method"]["name"] == name
    again = Run.open(run.path)
    assert again.model.method == method
    assert again.model.task == task
    assert again.exposure == model.exposure
    assert weights_digest(again.model) == weights_digest(model)
    assert torch.equal(again.model(inputs), model(inputs))
    unlearner = Retrain() if name == "network" else None
    data = DATA if name in ("network", "sisa") or "repair_epochs" in METHODS[what] else None
    receipt = again.forget(again.request("case", ids=GONE), data=data, unlearner=unlearner)
    assert receipt.samples == 3
    third = Run.open(run.path)
    assert third.receipts[0].ids_digest == receipt.ids_digest
    assert torch.equal(third.model(inputs), again.model(inputs))
    assert set(third.ids) == set(DATA.ids) - set(GONE)
    assert third.exposure == again.exposure
    expected = "exact" if what in ("network", "sisa", "spm, public encoder") else "revoked"
    assert receipt.level == ("empirical" if name == "amnesiac" else expected)
    assert receipt.erasure == ("L1" if what == "logit-mask" else "L2")  # whose rows are labels: nothing to search for
