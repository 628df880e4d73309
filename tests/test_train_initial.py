"""Training that continues from given weights."""

import dataclasses

import pytest
import torch

from erasable.network import Network
from erasable.population import train_members
from erasable.train import Supervised, fit
from tests.toys import TINY, blob_task, blobs

DATA, TASK = blobs(30), blob_task()
NETWORK = Network(network="mlp width=6")
OBJECTIVE = Supervised(lambda: NETWORK.build(TASK), TASK)
STILL = dataclasses.replace(TINY, lr=1e-12, weight_decay=0.0, epochs=1)  # too slow to move


def test_training_starts_from_the_given_weights():
    start = [dict(each.state_dict()) for each, _ in train_members(OBJECTIVE, DATA, TINY, seeds=[0, 1])]
    for seeds in ([5, 6], [5]):
        networks, _ = fit(OBJECTIVE, DATA, STILL, seeds=seeds, initial=start[: len(seeds)])
        for network, weights in zip(networks, start, strict=False):
            assert all(torch.allclose(tensor, weights[name]) for name, tensor in network.state_dict().items())
    with pytest.raises(ValueError, match="zip"):
        fit(OBJECTIVE, DATA, STILL, seeds=[5, 6], initial=start[:1])


def test_members_that_continue_equal_models_that_continue_alone_in_any_chunks():
    start = [dict(each.state_dict()) for each, _ in train_members(OBJECTIVE, DATA, TINY, seeds=[0, 1, 2])]
    chunked = train_members(OBJECTIVE, DATA, TINY, seeds=[5, 6, 7], initial=start, chunk=2)
    for (network, _), seed, weights in zip(chunked, (5, 6, 7), start, strict=True):
        alone = fit(OBJECTIVE, DATA, TINY, seeds=[seed], initial=[weights])[0][0]
        for a, b in zip(network.parameters(), alone.parameters(), strict=True):
            assert torch.allclose(a, b, atol=1e-5)
