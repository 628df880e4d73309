"""The residual network: shapes, sizes, normalisation."""

import pytest
import torch
from torch import nn

from erasable._plumbing.architecture import build_encoder
from erasable.dataset import Dataset
from erasable.errors import BatchStatistics, SettingsError, UnknownName
from erasable.models.resnet import ResNet
from erasable.network import Network
from erasable.tasks.classification import Classification
from erasable.train import Recipe

TASK = Classification(shape=(3, 8, 8), classes=2)
DATA = Dataset.of(
    {"image": torch.randint(256, (12, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)),
     "label": torch.arange(12) % 2},
    [f"p{i}" for i in range(12)],
)  # fmt: skip
RECIPE = Recipe(epochs=2, batch=4, lr=0.05, optimizer="sgd")
SMALL = "resnet widths=8,16 blocks=1"


def test_resnet_18_has_its_known_size():
    model = ResNet((3, 32, 32))
    convolutions = [each for each in model.modules() if isinstance(each, nn.Conv2d)]
    assert len(convolutions) == 17 + 3  # and the head makes 18; three shortcuts
    assert sum(p.numel() for p in model.parameters()) == 11_168_832
    assert model.width == 512


def test_shapes_and_independence():
    model = build_encoder(SMALL, (3, 8, 8))
    x = torch.randn(4, 3, 8, 8)
    assert model(x).shape == (4, model.width) == (4, 16)
    assert torch.allclose(model(x)[2:3], model(x[2:3]), atol=1e-5)
    assert build_encoder("resnet widths=8 blocks=1", (1, 8, 8))(torch.randn(2, 1, 8, 8)).shape == (2, 8)


def test_a_block_by_hand():
    torch.manual_seed(0)
    model = ResNet((2, 4, 4), widths=(8,), blocks=1, groups=4)
    conv, norm, relu, block, *_ = model.layers
    x = torch.randn(3, 2, 4, 4)
    h = relu(norm(conv(x)))
    way = block.way
    inner = way[4](way[3](torch.relu(way[1](way[0](h)))))
    assert torch.allclose(model(x), torch.relu(inner + h).mean((2, 3)), atol=1e-6)


def test_group_norm_trains_in_populations():
    a, b = Network(network=SMALL, recipe=RECIPE).train(DATA, TASK, seeds=[0, 1])
    alone = Network(network=SMALL, recipe=RECIPE).train(DATA, TASK, seeds=[1])[0]
    assert not torch.equal(a.network.head.weight, b.network.head.weight)
    assert all(torch.allclose(p, q, atol=1e-4) for p, q in zip(b.parameters(), alone.parameters(), strict=True))


def test_batch_norm_is_refused_in_populations_and_trains_one_by_one():
    spec = SMALL + " norm=batch"
    with pytest.raises(BatchStatistics):
        Network(network=spec, recipe=RECIPE).train(DATA, TASK, seeds=[0, 1])
    _, b = Network(network=spec, recipe=RECIPE, sequential=True).train(DATA, TASK, seeds=[0, 1])
    alone = Network(network=spec, recipe=RECIPE).train(DATA, TASK, seeds=[1])[0]
    assert all(torch.equal(p, q) for p, q in zip(b.state_dict().values(), alone.state_dict().values(), strict=True))
    running = [t for name, t in b.state_dict().items() if name.endswith("running_mean")]
    assert any(t.abs().sum() > 0 for t in running)


def test_settings_are_checked():
    for spec in ("resnet norm=layer", "resnet widths=9,18", "resnet blocks=0", "resnet colour=3"):
        with pytest.raises(SettingsError):
            build_encoder(spec, (3, 8, 8))
    with pytest.raises(UnknownName):
        build_encoder("os:system", (3, 8, 8))  # not a network: never called
