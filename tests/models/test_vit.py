"""The vision transformer: its slot, its two switches, and the shortcuts that must not change a number."""

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call, stack_module_state, vmap

from erasable._plumbing.architecture import build_encoder
from erasable.errors import SettingsError
from erasable.models.vit import Block, ViT


def vit(shape=(1, 8, 8), seed=0, **settings):
    torch.manual_seed(seed)
    network = ViT(shape, **{"patch": 4, "width": 12, "heads": 3, "value_width": 5, **settings}).eval()
    with torch.no_grad():
        network.null.normal_()
    return network


@pytest.mark.parametrize(("shape", "patch", "count"), [((1, 8, 8), 4, 4), ((3, 8, 4), 2, 8), ((7,), 3, 3)])
@pytest.mark.parametrize("stem", [0, 6])
def test_pictures_and_rows_of_features(shape, patch, count, stem):
    network = vit(shape, patch=patch, stem=stem)
    x = torch.randn(5, *shape)
    assert network.tokens(x).shape == (5, count, 12)
    assert network(x).shape == (5, network.width)


def test_feature_groups_by_hand():
    network = vit((3,), patch=2, width=3)
    x = torch.tensor([[1.0, 2.0, 3.0]])
    weight = network.patches.weight
    want = torch.stack([weight[0, 0] + 2 * weight[0, 1], 3 * weight[1, 0]])
    assert torch.allclose(network.patches(x)[0], want, atol=1e-6)


def test_patches_are_cut_row_by_row():
    network = vit()
    x = torch.zeros(1, 1, 8, 8)
    x[:, :, 0:4, 4:8] = 1.0
    moved = (network.patches(x) - network.patches(torch.zeros(1, 1, 8, 8))).abs().sum(-1)[0]
    assert (moved > 0).tolist() == [False, True, False, False]


@pytest.mark.parametrize("settings", [{"patch": 3}, {"width": 10, "heads": 3}, {"depth": 0}, {"value_width": 0}])
def test_networks_that_cannot_be(settings):
    with pytest.raises(SettingsError):
        vit(**settings)


def test_the_null_value_stands_for_no_memory():
    network = vit()
    x, values = torch.randn(4, 1, 8, 8), torch.randn(4, 5)
    present = torch.tensor([True, False, True, False])
    mixed = network(x, values, present=present)
    assert torch.allclose(mixed[present], network(x, values)[present], atol=1e-6)
    assert torch.allclose(mixed[~present], network(x)[~present], atol=1e-6)
    assert (network(x, values) - network(x)).abs().max() > 1e-3


def test_a_masked_picture_is_not_seen():
    network = vit(stem=4)
    values, visible = torch.randn(4, 5), torch.tensor([True, False, True, False])
    x, other = torch.randn(4, 1, 8, 8), torch.randn(4, 1, 8, 8)
    one, two = network(x, values, visible=visible), network(other, values, visible=visible)
    assert torch.equal(one[~visible], two[~visible])
    assert ((one - two).abs().amax(1) > 1e-3).tolist() == visible.tolist()


def test_several_exemplars_are_read_one_at_a_time():
    network = vit()
    x, values = torch.randn(4, 1, 8, 8), torch.randn(4, 3, 5)
    together = network(x, values)
    assert together.shape == (4, 3, 12)
    for k in range(3):
        assert torch.allclose(together[:, k], network(x, values[:, k]), atol=1e-5)


def test_attention_against_the_library():
    torch.manual_seed(0)
    block, x = Block(12, 3, 24), torch.randn(4, 7, 12)
    y = block.norm1(x)
    key, value = block.key_value(y).chunk(2, dim=-1)
    heads = [each.unflatten(-1, (3, 4)).transpose(1, 2) for each in (block.query(y), key, value)]
    z = x + block.project(F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2))
    want = z + block.mlp(block.norm2(z))
    assert torch.allclose(block(x, 7), want, atol=1e-5)
    assert torch.allclose(block(x, 1), want[:, :1], atol=1e-5)  # what is not read is not computed


def test_a_sample_does_not_depend_on_its_batch():
    network = vit(stem=4)
    x = torch.randn(6, 1, 8, 8)
    assert torch.allclose(network(x)[2:3], network(x[2:3]), atol=1e-5)


def test_vectorised_members_equal_each_alone():
    members = [vit(seed=seed, stem=4) for seed in range(3)]
    weights, buffers = stack_module_state(members)
    x, values = torch.randn(3, 4, 1, 8, 8), torch.randn(3, 4, 5)
    together = vmap(lambda w, b, x, v: functional_call(members[0], (w, b), (x, v)))(weights, buffers, x, values)
    for i, each in enumerate(members):
        assert torch.allclose(together[i], each(x[i], values[i]), atol=1e-5)


def test_it_has_a_name():
    encoder = build_encoder("vit patch=2 width=8 depth=1 heads=2", (1, 8, 8))
    assert isinstance(encoder, ViT)
    assert encoder.width == 8
