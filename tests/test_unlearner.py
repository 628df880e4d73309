"""The one verb: what `forget` does to models of either kind, and what its receipts say."""

import copy
import dataclasses
from datetime import datetime

import pytest
import torch
from torch import nn

import erasable
from erasable.errors import AlreadyForgotten, EmptyRequest, NotErasable, NotForgettable, UndeclaredAccess, UnknownSample
from erasable.network import Network
from erasable.receipt import digest_of_ids
from erasable.request import Request
from erasable.unlearner import Forgettable, Method, Trained, declared, forget, weights_digest
from tests.toy_run import Shift, Toy, ToyRefit, ToyTask, planted
from tests.toys import NETWORK, blob_task, blobs

DATA, TASK = blobs(), blob_task()
IDS = DATA.ids[:6]
REQUEST = Request("case 7", IDS, "2026-01-02T03:04:05+00:00")
MODEL = NETWORK.train(DATA, TASK, seeds=[0])[0]
ROWS = planted(40, public=8)


@dataclasses.dataclass(frozen=True)
class Reader:
    """Does with both halves whatever it is told to."""

    touch: str = ""
    guarantee: str = "empirical"
    needs: frozenset = frozenset({"forget", "retain"})

    def __call__(self, model, split, task, *, seed):
        LOOKS.get(self.touch, lambda split: None)(split)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(seed)
        return model


LOOKS = {
    "forget length": lambda split: len(split.forget),
    "forget truth": lambda split: bool(split.forget),
    "forget ids": lambda split: split.forget.ids,
    "retain read": lambda split: split.retain.read("x"),
    "retain loop": lambda split: list(split.retain),
    "retain item": lambda split: split.retain[0],
    "retain membership": lambda split: "blob/001" in split.retain,
    "retain attribute that may be missing": lambda split: hasattr(split.retain, "owners"),
}


# --- unlearners -------------------------------------------------------------------------------------------------------


def test_an_unlearner_changes_a_copy():
    before, parameters = weights_digest(MODEL), [p.data_ptr() for p in MODEL.parameters()]
    result, receipt = forget(MODEL, REQUEST, data=DATA, unlearner=Reader(), seed=3)
    assert weights_digest(MODEL) == before == receipt.weights_before
    assert receipt.weights_after == weights_digest(result) != before
    assert [p.data_ptr() for p in MODEL.parameters()] == parameters
    assert all(bool((p == 3).all()) for p in result.parameters())  # and the seed arrived
    assert MODEL.exposure.of(IDS) == {"network": 6}


def test_the_receipt_of_an_unlearner():
    _, receipt = forget(MODEL, REQUEST, data=DATA, unlearner=Reader())
    assert (receipt.case, receipt.received) == ("case 7", "2026-01-02T03:04:05+00:00")
    assert datetime.fromisoformat(receipt.completed).tzinfo is not None
    assert (receipt.method, receipt.samples, receipt.ids_digest) == ("Reader", 6, digest_of_ids(IDS))
    assert receipt.level == "empirical"
    assert "no audit is attached" in receipt.why
    assert receipt.exposure == {"network": 6}
    assert (receipt.memory_before, receipt.memory_after) == ("", "")
    assert receipt.seconds > 0
    assert receipt.audited is None
    assert receipt.erasable_version == erasable.__version__


@pytest.mark.parametrize("touch", LOOKS)
def test_undeclared_data_explode_and_declared_data_do_not(touch):
    half, other = ("forget", "retain") if touch.startswith("forget") else ("retain", "forget")
    wrong = Reader(touch, needs=frozenset({other}))
    before = weights_digest(MODEL)
    with pytest.raises(UndeclaredAccess, match=f"Reader read the {half} data.*add '{half}'"):
        forget(MODEL, REQUEST, data=DATA, unlearner=wrong)
    assert weights_digest(MODEL) == before
    if touch not in ("retain loop", "retain item", "retain membership"):  # a Dataset offers none of these
        forget(MODEL, REQUEST, data=DATA, unlearner=Reader(touch, needs=frozenset({half})))


def test_declared_halves_are_the_split_itself():
    split = REQUEST.split(DATA)
    halves = declared(split, Reader(needs=frozenset({"retain"})))
    assert halves.retain is split.retain
    with pytest.raises(UndeclaredAccess):
        copy.copy(halves.forget)


def test_exact_is_computed_from_what_is_left_and_scaling_is_left():
    fitted = dataclasses.replace(TASK, fitted=True)
    for task, level, left in ((TASK, "exact", {}), (fitted, "revoked", {"input scaling": 6})):
        model = NETWORK.train(DATA, task, seeds=[0])[0]
        result, receipt = forget(model, REQUEST, data=DATA, unlearner=Reader(guarantee="exact"))
        assert (receipt.level, receipt.exposure) == (level, left)
        assert result.exposure.of(IDS) == left
        assert "network" not in receipt.why or level == "exact"
        assert result.exposure.of(DATA.ids[6:])["network"] == 54
        assert model.exposure.of(IDS)["network"] == 6


@pytest.mark.parametrize(("error", "ids", "data"), [
    (UnknownSample, ["blob/999"], DATA),
    (UnknownSample, [DATA.ids[0], "blob/999"], DATA),
    (UnknownSample, IDS, DATA.without(IDS)),
    (NotErasable, IDS, DATA.declare_public(IDS[:1])),
    (EmptyRequest, DATA.ids, DATA),
    (NotForgettable, IDS, None),
])  # fmt: skip
def test_refusals_before_anything_is_copied_or_run(error, ids, data):
    ran = []

    class Spy(Reader):
        def __call__(self, *args, **kw):
            ran.append(args)

    with pytest.raises(error) as caught:
        forget(MODEL, Request("r", ids), data=data, unlearner=Spy())
    assert "\n" not in str(caught.value)
    assert not ran


def test_an_ordinary_network_has_nothing_to_erase_from():
    for data in (None, DATA):
        with pytest.raises(NotForgettable, match="NetworkModel has nothing to erase from"):
            forget(MODEL, REQUEST, data=data)
    plain = Toy(forgetful=False).train(ROWS, ToyTask(), seeds=[0])[0]  # whose `forget` is None
    with pytest.raises(NotForgettable):
        forget(plain, Request("r", ["s1"]))


# --- models designed to forget ----------------------------------------------------------------------------------------


def test_a_forgettable_model_is_changed_in_place():
    model = Toy().train(ROWS, ToyTask(), seeds=[0])[0]
    before = model.memory.digest()
    result, receipt = forget(model, Request("r", ["s1", "s4", "s1"]))
    assert result is model
    assert "s1" not in model.memory
    assert (receipt.memory_before, receipt.memory_after) == (before, model.memory.digest())
    assert receipt.memory_before != receipt.memory_after
    assert receipt.weights_before == receipt.weights_after == weights_digest(model)
    assert (receipt.method, receipt.samples) == ("Toy", 2)
    assert (receipt.level, receipt.exposure) == ("revoked", {"head": 1})  # the head was fitted on every other sample
    assert forget(model, Request("r", ["s3", "s5"]))[1].level == "exact"


def test_data_are_passed_on_to_methods_that_refit():
    model = ToyRefit().train(ROWS, ToyTask(), seeds=[0])[0]
    _, receipt = forget(model, Request("r", ["s2"]), data=ROWS)
    assert "s2" not in model.seen
    assert receipt.weights_before != receipt.weights_after
    assert (receipt.level, receipt.exposure) == ("exact", {})


@pytest.mark.parametrize(("error", "ids"), [(UnknownSample, ["s1", "s999"]), (AlreadyForgotten, ["s3"])])
def test_a_refused_request_changes_nothing(error, ids):
    model = Toy().train(ROWS, ToyTask(), seeds=[0])[0]
    forget(model, Request("r", ["s3"]))
    before = model.memory.digest(), weights_digest(model)
    with pytest.raises(error):
        forget(model, Request("r", ids))
    assert (model.memory.digest(), weights_digest(model)) == before


def test_an_unlearner_works_on_a_copy_of_a_model_with_a_memory_too():
    model = Toy().train(ROWS, ToyTask(), seeds=[0])[0]
    before = model.memory.digest(), weights_digest(model)
    result, receipt = forget(model, Request("r", ["s1"]), data=ROWS, unlearner=Shift())
    assert (model.memory.digest(), weights_digest(model)) == before
    assert result.memory is not model.memory
    assert "s1" in result.memory
    assert receipt.memory_before == receipt.memory_after


# --- protocols and digests --------------------------------------------------------------------------------------------


def test_protocols_tell_models_apart():
    toy = Toy().train(ROWS, ToyTask(), seeds=[0])[0]
    assert isinstance(toy, Trained)
    assert isinstance(toy, Forgettable)
    assert isinstance(MODEL, Trained)
    assert not isinstance(MODEL, Forgettable)
    assert not isinstance(nn.Linear(2, 2), Trained)
    assert isinstance(Network(), Method)
    assert not isinstance(Reader(), Method)


def test_a_weights_digest_sees_names_types_shapes_and_bytes():
    def digest(**tensors):
        holder = nn.Module()
        for name, tensor in tensors.items():
            holder.register_buffer(name, tensor)
        return weights_digest(holder)

    x = torch.arange(4.0)
    turned = x.view(2, 2).T
    others = {
        "name": digest(b=x), "type": digest(a=x.view(torch.int32)), "shape": digest(a=x.view(2, 2)),
        "value": digest(a=x + 1e-7),
        "sign of zero": digest(a=x * torch.tensor([-1.0, 1, 1, 1])), "more": digest(a=x, b=x),
        "turned": digest(a=turned),
        "scalar": digest(a=torch.tensor(1.0)), "other scalar": digest(a=torch.tensor(1.0000001)),
        "half": digest(a=x.bfloat16()), "truth": digest(a=x > 1), "none": digest(a=x[:0]),
    }  # fmt: skip
    assert len({digest(a=x), *others.values()}) == len(others) + 1
    assert digest(a=x, b=x + 1) == digest(b=x + 1, a=x)  # order of registration
    assert digest(a=turned) == digest(a=turned.contiguous())  # layout in memory
