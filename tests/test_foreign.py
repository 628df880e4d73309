"""Someone else's networks: what is loaded is what was saved, and what cannot be used is refused in one line."""

import json
import pickle
import shlex
import subprocess
import sys
import types

import pytest
import safetensors.torch
import torch
from torch import nn

from erasable.audit import Subject, judge
from erasable.errors import (
    EvidenceError,
    InvalidData,
    MismatchError,
    MissingFile,
    PopulationTooSmall,
    SettingsError,
    TaskMismatch,
    UnknownName,
    UnknownSample,
)
from erasable.foreign import Architecture, Foreign, oracles_in, read_weights, refuse_untrained
from erasable.population import oracles
from erasable.probe import Probe
from erasable.receipt import INPUT_SCALING
from erasable.request import Request
from erasable.tasks import Classification
from erasable.unlearner import Trained
from tests.toys import TINY, blob_task, blobs

DATA, TASK = blobs(60), blob_task()


def build(width=8):
    return nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, 3))


class Tied(nn.Module):
    """Two layers that share their weights."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.head = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 3)
        self.two.weight = self.one.weight

    def forward(self, x):
        return self.head(self.two(self.one(x)))


@pytest.fixture
def theirs(monkeypatch):
    """A module of somebody's own, called `their_nets`."""
    module = types.ModuleType("their_nets")
    module.build, module.Tied, module.number = build, Tied, 3
    monkeypatch.setitem(sys.modules, "their_nets", module)
    return module


def saved(folder, network, name="weights.safetensors", **changed):
    state = {key: each.clone() for key, each in network.state_dict().items()} | changed
    safetensors.torch.save_file({key: each for key, each in state.items() if each is not None}, folder / name)
    return folder / name


def load(file, architecture=build, trained_ids=DATA.ids):
    return Foreign.load(file, architecture=architecture, task=TASK, trained_ids=trained_ids)


# --- what comes in ---------------------------------------------------------------------------------------------------


def test_a_loaded_model_answers_as_the_one_that_was_saved(theirs, tmp_path):
    network, state = build(), torch.get_rng_state()
    model = load(saved(tmp_path, network), "their_nets:build", DATA.ids[:5])
    batch = TASK.batch(DATA, torch.arange(9))
    assert torch.equal(TASK.logits(model, batch), network(batch["inputs"]))
    assert model.exposure.of(DATA.ids[:9]) == {"network": 5}
    assert not any(each.requires_grad for each in model.parameters())
    assert (model.name, model.memory, model.training) == ("weights", None, False)
    assert torch.equal(torch.get_rng_state(), state)  # initial weights are nobody else's random numbers
    model.check(DATA)


def test_a_fitted_scaling_is_an_exposure():
    task = Classification(shape=(2,), classes=3, low=(-4.0,), high=(4.0,), inputs="x", fitted=True)
    assert set(Foreign(build(), task, ["a"]).exposure.parts) == {"network", INPUT_SCALING}


@pytest.mark.parametrize("made", [
    lambda: build(),
    lambda width=8: build(width),
    lambda shape, classes: build() if (shape, classes) == ((2,), 3) else None,
    lambda shape=None, classes=None: build() if (shape, classes) == ((2,), 3) else None,
    lambda inputs, outputs, width=8: build(width) if (inputs, outputs) == ((2,), 3) else None,
    lambda *, width=8: build(width),
])  # fmt: skip
def test_build_is_called_with_what_it_takes(made):
    assert len(Architecture(build=made).network(TASK)) == 3


def test_tied_weights_and_half_precision_fit(tmp_path):
    network = Tied()
    assert (
        not load(saved(tmp_path, network, **{"two.weight": None}), Tied)
        .network.two.weight.sub(network.one.weight)
        .any()
    )
    half = {key: each.half() for key, each in build().state_dict().items()}
    safetensors.torch.save_file(half, tmp_path / "half.safetensors")
    assert torch.equal(load(tmp_path / "half.safetensors").network[0].weight, half["0.weight"].float())


@pytest.mark.parametrize(("changed", "told"), [
    ({"0.weight": None}, "1 missing (first '0.weight')"),
    ({"3.weight": torch.zeros(1), "3.bias": torch.zeros(1)}, "2 unexpected (first '3.bias')"),
    ({"2.bias": torch.zeros(4)}, "1 of another shape (first '2.bias', (4,) instead of (3,))"),
    ({"2.bias": torch.zeros(3, dtype=torch.int8)}, "(first '2.bias', (3,) int8 instead of (3,))"),
    ({"2.bias": None, "bias": torch.zeros(3)}, "1 missing (first '2.bias'), 1 unexpected (first 'bias')"),
])  # fmt: skip
def test_weights_of_another_network_are_refused(tmp_path, changed, told):
    with pytest.raises(MismatchError) as wrong:
        load(saved(tmp_path, build(), **changed))
    assert told in wrong.value.came
    assert "\n" not in str(wrong.value)


def test_a_prefix_is_recognised(tmp_path):
    safetensors.torch.save_file({f"module.{k}": v for k, v in build().state_dict().items()}, tmp_path / "w.safetensors")
    with pytest.raises(MismatchError, match=r"without the prefix 'module\.'"):
        load(tmp_path / "w.safetensors")


@pytest.mark.parametrize(("architecture", "error", "told"), [
    ("mlp", UnknownName, "expected package.module:build"),
    ("no_such_module:build", UnknownName, "cannot be imported"),
    ("their_nets:bild", UnknownName, "cannot be imported"),
    ("their_nets:number", UnknownName, "is int"),
    (lambda: 3, TaskMismatch, "returned int"),
    (lambda: 1 / 0, SettingsError, "ZeroDivisionError"),
    (lambda a, b, c: build(), SettingsError, "build(shape, classes)"),
])  # fmt: skip
def test_architectures_that_cannot_be_built(theirs, architecture, error, told):
    with pytest.raises(error) as wrong:
        Architecture(build=architecture).network(TASK)
    assert told in str(wrong.value)


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["w.pt", "w.pth", "w.bin", "w.ckpt", "w.safetensors", "WEIGHTS.PT", "pick le's.pkl"])
def test_pickles_are_refused_and_the_conversion_that_is_told_works(tmp_path, name):
    """As torch.save writes them, zip or plain pickle, and under any name."""
    network, file = build(), tmp_path / name
    state = {"state_dict": network.state_dict(), "epoch": 3} if name.endswith("ckpt") else network.state_dict()
    torch.save(state, file, _use_new_zipfile_serialization=not name.endswith("pth"))
    with pytest.raises(InvalidData) as wrong:
        load(file)
    assert "a pickle, which can run any code" in wrong.value.came
    assert "weights_only=True" in wrong.value.do
    if name in ("w.ckpt", "pick le's.pkl"):
        command = shlex.split(wrong.value.do.partition(": ")[2])
        assert command[:2] == ["python", "-c"]
        subprocess.run([sys.executable, *command[1:]], check=True)
        converted = file.with_suffix(".safetensors")
        assert torch.equal(load(converted).network[0].weight, network[0].weight)


def test_a_pickle_is_not_opened(tmp_path):
    class Harm:
        def __reduce__(self):
            return (open, (str(tmp_path / "harmed"), "w"))

    (tmp_path / "w.safetensors").write_bytes(pickle.dumps(Harm()))
    with pytest.raises(InvalidData, match="pickle"):
        load(tmp_path / "w.safetensors")
    assert not (tmp_path / "harmed").exists()


def test_a_header_of_640_bytes_is_not_taken_for_a_pickle(tmp_path):
    """Its length, 80 02 00..., is how a pickle of protocol 2 begins."""
    head = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).ljust(640).encode()
    (tmp_path / "w.safetensors").write_bytes((640).to_bytes(8, "little") + head + b"\0\0\x80?")
    assert (tmp_path / "w.safetensors").read_bytes()[:2] == b"\x80\x02"
    assert read_weights(tmp_path / "w.safetensors")["a"].tolist() == [1.0]


def test_damaged_files(tmp_path):
    with pytest.raises(MissingFile, match="is no file"):
        load(tmp_path / "none.safetensors")
    file = saved(tmp_path, build())
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(InvalidData, match="is no safetensors file"):
        load(file)
    with pytest.raises(InvalidData, match=r"'2\.bias' in .* holds NaN"):
        load(saved(tmp_path, build(), **{"2.bias": torch.tensor([0.0, float("nan"), 0.0])}))


# --- what it answers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("network", "error", "told"), [
    (nn.Linear(5, 3), TaskMismatch, "cannot read 'blobs' (RuntimeError"),
    (nn.Linear(2, 4), TaskMismatch, "answers 16 samples with (16, 4)"),
    (nn.LSTM(2, 3), TaskMismatch, "with tuple"),
    (nn.Sequential(build(), nn.Softmax(1)), TaskMismatch, "answers with probabilities"),
])  # fmt: skip
def test_answers_that_are_no_logits(network, error, told):
    with pytest.raises(error) as wrong:
        Foreign(network, TASK, DATA.ids).check(DATA)
    assert told in str(wrong.value)
    Foreign(nn.Sequential(build(), nn.LogSoftmax(1)), TASK, DATA.ids).check(DATA)  # logarithms are as good


def test_nan_answers():
    network = build()
    with torch.no_grad():
        network[2].bias[1] = torch.nan
    with pytest.raises(InvalidData, match="answers with NaN"):
        Foreign(network, TASK, DATA.ids).check(DATA)


def test_ids_that_were_never_trained_on():
    refuse_untrained(["a", "b"], ("b", "a", "c"))
    with pytest.raises(UnknownSample, match=r"^2 of 3 ids to forget are not in the training manifest, first 'x'"):
        refuse_untrained(["a", "x", "y"], {"a"})


# --- oracles ---------------------------------------------------------------------------------------------------------


def test_a_folder_of_oracles(tmp_path):
    for i in range(3):
        saved(tmp_path, build(), f"{i}.safetensors")
    (tmp_path / "readme.txt").write_text("not weights")
    found = oracles_in(tmp_path, architecture=build, task=TASK, trained_ids=DATA.ids[3:])
    assert [each.name for each in found] == ["0", "1", "2"]
    assert (found.role, found.seeds) == ("oracle", ())
    assert found.models[2].exposure.of(DATA.ids[:4]) == {"network": 1}
    with pytest.raises(EvidenceError, match="'1' has the weights of the model that is judged"):
        oracles_in(tmp_path, architecture=build, task=TASK, trained_ids=DATA.ids, beside=[found.models[1]])
    saved(tmp_path, found.models[0].network, "again.safetensors")
    with pytest.raises(EvidenceError, match="'again' has the weights of the oracle '0'"):
        oracles_in(tmp_path, architecture=build, task=TASK, trained_ids=DATA.ids)


def test_folders_without_oracles(tmp_path):
    def refused(error, told):
        with pytest.raises(error, match=told):
            oracles_in(tmp_path / "o", architecture=build, task=TASK, trained_ids=DATA.ids)

    refused(MissingFile, "is no folder")
    (tmp_path / "o").mkdir()
    saved(tmp_path / "o", build(), "1.safetensors")
    refused(PopulationTooSmall, "1 .safetensors files")
    torch.save(build().state_dict(), tmp_path / "o" / "2.pt")
    refused(InvalidData, "pickle")


def test_members_equal_those_trained_alone():
    design = Architecture(build=build, recipe=TINY)
    together = design.train(DATA, TASK, seeds=[3, 4])
    for seed, member in zip([3, 4], together, strict=True):
        (alone,) = design.train(DATA, TASK, seeds=[seed])
        for a, b in zip(member.parameters(), alone.parameters(), strict=True):
            torch.testing.assert_close(a, b)
    assert together[0].exposure.of(DATA.ids) == {"network": 60}
    again = design.restore(TASK, together[0].state_dict(), None, together[0].exposure)
    assert torch.equal(again.network[0].weight, together[0].network[0].weight)


def test_members_on_parts_of_the_data_equal_those_trained_alone():
    """And each says by which design, and on which samples, it was trained."""
    design, parts = Architecture(build=build, recipe=TINY), torch.tensor([[0, 2, 4, 6, 8, 10], [1, 3, 5, 7, 9, 11]])
    for member, seed, part in zip(design.train_subsets(DATA, TASK, seeds=[3, 4], subsets=parts), [3, 4], parts,
                                  strict=True):  # fmt: skip
        (alone,) = design.train(DATA.take(part), TASK, seeds=[seed])
        for a, b in zip(member.parameters(), alone.parameters(), strict=True):
            torch.testing.assert_close(a, b)
        assert member.exposure.parts == {"network": frozenset(DATA.take(part).ids)}
        assert member.method is design
        assert isinstance(member, Trained)
    assert not isinstance(Foreign(build(), TASK, DATA.ids), Trained)  # nobody knows how it was trained


def test_another_module_is_another_design(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_nets.py").write_text("from torch import nn\n\ndef build():\n    return nn.Linear(2, 3)\n")
    design = Architecture(build="own_nets:build")
    first = design.source
    assert first == design.source != Architecture(build=build).source
    with open(tmp_path / "own_nets.py", "a") as file:
        file.write("# changed\n")
    assert design.source != first
    sys.modules.pop("own_nets")


class Moody(nn.Module):
    """What it does depends on a value, which cannot be vectorised."""

    def __init__(self):
        super().__init__()
        self.layers = build()

    def forward(self, x):
        return self.layers(x) if float(x.detach().sum()) > -1e9 else x


@pytest.mark.parametrize("made", [Moody, lambda: nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))])
def test_networks_that_cannot_be_vectorised_are_trained_one_after_another(made):
    reference = oracles(Architecture(build=made, recipe=TINY), DATA, TASK, seeds=[0, 1])
    assert len(reference) == 2
    assert not torch.equal(*(next(each.parameters()) for each in reference))


def test_any_network_can_be_judged():
    """Two models from outside, one trained on the samples: what it says of them has an oracle's value beside it."""
    data, fresh = blobs(90), blobs(45, seed=1)
    request = Request("case", data.ids[:9])
    design = Architecture(build=build, recipe=TINY)
    reference = oracles(design, data.without(request.ids), TASK, seeds=range(3))
    model = Foreign(design.train(data, TASK, seeds=[9])[0].network, TASK, data.ids)
    probe = Probe.of(request, data, fresh, TASK)
    section = judge([Subject(name="theirs", model=model, oracles=reference)], probe, title="from outside")
    assert section.rows[0].level is None
    assert len(section.rows[0].finding("forget accuracy").null_values) == 3
