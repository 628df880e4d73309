"""The small encoders, and building one from its name."""

import pytest
import torch
from torch import nn

from erasable._plumbing.architecture import build_encoder
from erasable.errors import ErasableError, SettingsError, UnknownName
from erasable.models.convnet import ConvNet
from erasable.models.mlp import MLP


class Strange(nn.Module):
    """Somebody else's encoder; it keeps what it is given."""

    def __init__(self, shape, *, rate: float, name: str = "", sizes=(1, 2), count: int = 3):
        super().__init__()
        self.width, self.given = 4, (tuple(shape), rate, name, sizes, count)


HERE = f"{__name__}:Strange"


def test_mlp_by_hand():
    torch.manual_seed(0)
    model = MLP((1, 2, 3), width=4, depth=2)
    first, second = (each for each in model.layers if isinstance(each, nn.Linear))
    x = torch.randn(5, 1, 2, 3)
    hidden = (x.view(5, 6) @ first.weight.T + first.bias).clamp_min(0)
    assert torch.allclose(model(x), (hidden @ second.weight.T + second.bias).clamp_min(0), atol=1e-6)
    assert sum(p.numel() for p in model.parameters()) == (6 * 4 + 4) + (4 * 4 + 4)


def test_mlp_with_another_activation():
    model = build_encoder("mlp width=4 activation=silu", (3,))
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    hidden = x @ model.layers[1].weight.T + model.layers[1].bias
    assert torch.allclose(model(x), hidden / (1 + (-hidden).exp()), atol=1e-6)


def test_convnet_by_hand():
    torch.manual_seed(0)
    model = ConvNet((2, 6, 6), widths=(4, 8), groups=2)
    assert [each.stride for each in model.layers if isinstance(each, nn.Conv2d)] == [(1, 1), (2, 2)]
    x = torch.randn(3, 2, 6, 6)
    h = x
    for i, stride in ((0, 1), (3, 2)):
        h = nn.functional.conv2d(h, model.layers[i].weight, stride=stride, padding=1)
        grouped = h.view(3, 2, -1)
        normal = (grouped - grouped.mean(2, keepdim=True)) / (grouped.var(2, correction=0, keepdim=True) + 1e-5).sqrt()
        h = normal.view_as(h).clamp_min(0)
    assert torch.allclose(model(x), h.mean((2, 3)), atol=1e-5)
    assert model(x).shape == (3, model.width) == (3, 8)
    assert ConvNet((2, 6, 6), widths=(4,), groups=2, pool=3)(x).shape == (3, 4 * 9)


@pytest.mark.parametrize(("spec", "shape"), [("mlp width=8", (3, 6, 6)), ("convnet widths=8 groups=4", (3, 6, 6))])
def test_features_depend_on_no_other_sample(spec, shape):
    model = build_encoder(spec, shape)
    x = torch.randn(6, *shape, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(model(x)[2:3], model(x[2:3]), atol=1e-6)


def test_numbers_lists_and_text_are_read_as_the_parameter_takes_them():
    assert build_encoder("convnet widths=16,32 groups=4", (1, 8, 8)).width == 32
    assert build_encoder("convnet widths=16", (1, 8, 8)).width == 16
    assert build_encoder(f"{HERE} rate=0.25", (5,)).given == ((5,), 0.25, "", (1, 2), 3)
    given = build_encoder(f"{HERE} rate=-1e-3 name=2024.01,x sizes=7 count=-2", (5,)).given
    assert given == ((5,), -0.001, "2024.01,x", [7], -2)


@pytest.mark.parametrize("spec", [
    "mlp depth=0", "mlp width=big", "mlp width=0", "convnet groups=7", "convnet widths=0", "convnet pool=0",
    "mlp colour=3", "mlp width", "mlp width=", "mlp activation=sine", HERE, f"{HERE} rate=1 widht=2",
])  # fmt: skip
def test_settings_that_cannot_be_used_are_one_line(spec):
    with pytest.raises(SettingsError) as caught:
        build_encoder(spec, (1, 8, 8))
    assert "\n" not in str(caught.value)


def test_a_convnet_is_for_pictures():
    with pytest.raises(SettingsError, match="pictures"):
        build_encoder("convnet", (30,))


@pytest.mark.parametrize("spec", ["mpl", "nowhere.at.all:Thing", f"{__name__}:Nobody", "os:system", "builtins:dict"])
def test_what_is_no_network_is_refused(spec):
    with pytest.raises(UnknownName) as caught:
        build_encoder(spec, (3,))
    assert "\n" not in str(caught.value)


def test_a_misspelt_name_gets_a_suggestion():
    with pytest.raises(ErasableError, match="did you mean 'mlp'"):
        build_encoder("mpl", (3,))
