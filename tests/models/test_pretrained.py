"""The pretrained encoder: frozen, scaled as it was trained, and honest about what is missing."""

import json
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import nn

from erasable._plumbing.architecture import build_encoder
from erasable.errors import InvalidData, MissingExtra, MissingFile, SettingsError
from erasable.models.pretrained import Pretrained


class Stub(nn.Module):
    """Stands in for a vision transformer: its CLS is the mean colour, weighted."""

    def __init__(self):
        super().__init__()
        self.config = SimpleNamespace(image_size=4)
        self.weight = nn.Parameter(torch.tensor([1.0, 2.0, 3.0]))
        self.drop = nn.Dropout(0.5)

    def forward(self, pixel_values):
        assert pixel_values.shape[1:] == (3, 4, 4)
        cls = self.drop(pixel_values.mean(dim=(2, 3)) * self.weight)
        return SimpleNamespace(last_hidden_state=torch.stack([cls, torch.full_like(cls, 9.0)], dim=1))


@pytest.fixture
def stub(monkeypatch, tmp_path):
    """A module `transformers` that knows one model; what it stores can be changed by the test."""
    stored = {"missing": [], "scaling": {"image_mean": [0.5, 0.5, 0.0], "image_std": [0.5, 0.25, 1.0]}, "path": "here"}

    def from_pretrained(path, **settings):
        assert settings["local_files_only"]
        assert settings["use_safetensors"]
        if path != stored["path"]:
            raise OSError("nothing there\nand a long explanation")
        return Stub().train(), {"missing_keys": set(stored["missing"])}

    def cached_file(path, name, **settings):
        (tmp_path / name).write_text(json.dumps(stored["scaling"]))
        return str(tmp_path / name)

    fake = ModuleType("transformers")
    fake.AutoModel = SimpleNamespace(from_pretrained=from_pretrained)
    fake.utils = SimpleNamespace(cached_file=cached_file)
    monkeypatch.setitem(sys.modules, "transformers", fake)
    return stored


def test_features_by_hand(stub):
    encoder = build_encoder("pretrained path=here", (1, 8, 8))
    assert encoder.width == 3
    grey = torch.zeros(2, 1, 8, 8)  # 0 in [-1, 1] is 0.5 in [0, 1]
    want = torch.tensor([0.0, 0.0, 1.5])  # (0.5 - mean) / std * weight
    assert torch.allclose(encoder(grey), want.expand(2, 3), atol=1e-6)


def test_nothing_in_it_can_be_trained(stub):
    encoder = Pretrained((3, 8, 8), path="here").train()
    assert not list(encoder.parameters())
    assert not any(module.training for module in encoder.modules())
    assert "network.weight" in encoder.state_dict()
    x = torch.rand(1, 3, 8, 8)
    assert torch.equal(encoder(x), encoder(x))


@pytest.mark.parametrize(("change", "error"), [
    ({"missing": ["layer.0.weight"]}, InvalidData),
    ({"scaling": {}}, InvalidData),
    ({"path": "elsewhere"}, MissingFile),
])  # fmt: skip
def test_what_is_not_there_is_said(stub, change, error):
    stub.update(change)
    with pytest.raises(error) as raised:
        Pretrained((3, 8, 8), path="here")
    assert "\n" not in str(raised.value)


def test_a_pooler_without_weights_is_no_error(stub):
    stub["missing"] = ["pooler.dense.weight"]
    assert Pretrained((3, 8, 8), path="here").width == 3


@pytest.mark.parametrize("shape", [(5,), (2, 8, 8)])
def test_only_pictures(stub, shape):
    with pytest.raises(SettingsError, match="1 or 3 channels"):
        Pretrained(shape, path="here")


def test_the_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtra, match="erasable\\[hf\\]"):
        Pretrained((1, 8, 8), path="here")


@pytest.mark.filterwarnings("ignore")  # of the package itself
def test_a_real_transformer_from_a_folder(tmp_path):
    transformers = pytest.importorskip("transformers", reason="transformers is an optional dependency")
    config = transformers.ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
                                    image_size=16, patch_size=8)  # fmt: skip
    reference = transformers.ViTModel(config).eval()
    reference.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}')
    encoder = build_encoder(f"pretrained path={tmp_path}", (3, 16, 16))
    x = torch.rand(2, 3, 16, 16) * 2 - 1
    with torch.no_grad():
        want = reference(pixel_values=x).last_hidden_state[:, 0]
    assert torch.allclose(encoder(x), want, atol=1e-5)
    assert not list(encoder.parameters())
    again = Pretrained((3, 16, 16), path=str(tmp_path)).state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in encoder.state_dict().items())
