"""What is searched for once weights have changed."""

import torch
from torch import Tensor

from erasable._plumbing.epilogue import PIECES, needles_of_weights
from erasable._plumbing.residue import NEEDLE


def content(tensor: Tensor) -> bytes:
    return tensor.numpy().tobytes()


def test_only_what_changed_is_searched_for_however_little_it_is():
    old = {"table": torch.randn(500, 12, generator=torch.Generator().manual_seed(0)), "same": torch.ones(40)}
    new = {name: each.clone() for name, each in old.items()}
    new["table"][[7, 311]] = 0
    needles = needles_of_weights(old, new)
    gone, left = content(old["table"][[7, 311]]), content(new["table"])
    assert len(set(needles)) == 2 * 12 * 4 // NEEDLE
    assert all(each in gone and each not in left for each in needles)


def test_a_tensor_that_changed_everywhere_is_searched_for_in_places_spread_over_it():
    old = {"weights": torch.randn(1000, generator=torch.Generator().manual_seed(1))}
    needles = needles_of_weights(old, {"weights": old["weights"] + 1})
    places = [content(old["weights"]).find(each) for each in needles]
    assert len(needles) == PIECES
    assert places == sorted(places)
    assert places[0] == 0
    assert places[-1] >= 4000 - 2 * NEEDLE


def test_a_tensor_of_another_shape_is_gone_and_a_short_one_is_passed_over():
    old = {"rows": torch.randn(4, 6, generator=torch.Generator().manual_seed(2)), "short": torch.randn(5)}
    assert len(needles_of_weights(old, {"rows": old["rows"][:2]})) == 4
    assert needles_of_weights(old, {**old, "short": old["short"] + 1}) == []
