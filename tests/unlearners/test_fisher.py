"""Fisher forgetting: the information by hand, the noise by hand, and whom it hurts."""

import copy

import pytest
import torch

from erasable._plumbing.gradients import flat
from erasable._plumbing.seeds import generator
from erasable.errors import SettingsError, TaskMismatch
from erasable.network import Network
from erasable.request import Request
from erasable.tasks.language import NextToken
from erasable.train import Recipe
from erasable.unlearners.fisher import Fisher
from tests.toys import BETWEEN, NETWORK, between, blob_task, blobs, sentences

TASK = blob_task()
DATA = blobs(24)
MODEL = NETWORK.train(DATA, TASK, seeds=[0])[0]
SPLIT = Request("r", DATA.ids[:6]).split(DATA)


def by_hand(labels):
    """Sample by sample and label by label."""
    net = copy.deepcopy(MODEL).requires_grad_(True)
    batch = TASK.batch(SPLIT.retain, torch.arange(18))
    total = torch.zeros(sum(p.numel() for p in net.parameters()))
    for x, right in zip(batch["inputs"], batch["labels"].tolist(), strict=True):
        for label in range(3) if labels == "expected" else [right]:
            log_p = torch.log_softmax(net(x[None])[0], 0)[label]
            share = log_p.detach().exp() if labels == "expected" else 1.0
            total += share * flat(torch.autograd.grad(log_p, list(net.parameters()))).square() / 18
    return total


@pytest.mark.parametrize("labels", ["expected", "observed"])
def test_the_information_and_the_noise_by_hand(labels):
    expected = by_hand(labels)
    assert torch.allclose(Fisher(labels=labels).information(MODEL, TASK, SPLIT.retain), expected, rtol=1e-4, atol=1e-8)
    for power in (0.5, 0.25):
        raw = (1e-3 / expected) ** power
        ceiling = float(raw.median())
        method = Fisher(labels=labels, power=power, variance=1e-3, ceiling=ceiling)
        model = method(copy.deepcopy(MODEL), SPLIT, TASK, seed=3)
        draws = generator(3, "noise")
        noise = torch.cat([torch.randn(p.shape, generator=draws).flatten() for p in MODEL.parameters()])
        moved = flat(model.parameters()) - flat(MODEL.parameters())
        assert torch.allclose(moved, noise * raw.clamp(max=ceiling), rtol=1e-3, atol=1e-5)
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())


def test_the_noise_follows_the_seed():
    a, b, c = (flat(Fisher()(copy.deepcopy(MODEL), SPLIT, TASK, seed=s).parameters()) for s in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_it_hurts_the_erased_class_more_than_the_others():
    data = between()
    model = BETWEEN.train(data, TASK, seeds=[0])[0]
    split = Request("c", data.where("label", 2).ids).split(data)

    def right(net, part):
        batch = TASK.batch(part, torch.arange(len(part)))
        return float((net(batch["inputs"]).argmax(1) == batch["labels"]).float().mean())

    noisy = [Fisher(variance=1e-3, ceiling=1.0)(copy.deepcopy(model), split, TASK, seed=s) for s in range(20)]
    halves = (split.forget, split.retain)
    gone, stay = (right(model, half) - sum(right(net, half) for net in noisy) / 20 for half in halves)
    assert gone > 0.15
    assert stay < gone / 2


def test_text_has_observed_labels_only():
    lines = sentences()
    task = NextToken.of(lines)
    gpt = Network(network="gpt width=8 depth=1 heads=2", recipe=Recipe(epochs=1, batch=8, lr=0.01))
    model, split = gpt.train(lines, task, seeds=[0])[0], Request("r", lines.ids[:4]).split(lines)
    with pytest.raises(TaskMismatch):
        Fisher()(copy.deepcopy(model), split, task, seed=0)
    after = Fisher(labels="observed")(copy.deepcopy(model), split, task, seed=0)
    moved = (flat(after.parameters()) - flat(model.parameters())).abs()
    assert 0 < float(moved.mean()) < 0.03


@pytest.mark.parametrize("settings", [{"variance": 0.0}, {"power": -1.0}, {"ceiling": 0.0}, {"labels": "drawn"}])
def test_refused_settings(settings):
    with pytest.raises(SettingsError):
        Fisher(**settings)
