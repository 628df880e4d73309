"""Noisy descent: a step by hand, its noise, what it forgets; the accountant against chains and Gaussians by hand."""

import copy
import math

import pytest
import torch

from erasable.contracts import check_unlearner
from erasable.errors import SettingsError, TaskMismatch
from erasable.request import Request
from erasable.unlearners.noisy_descent import Deletion, NoisyDescent
from tests.toys import BETWEEN, NETWORK, between, blob_task, blobs

DATA, TASK = blobs(), blob_task()
MODEL = NETWORK.train(DATA, TASK, seeds=[0])[0]
SPLIT = Request("r", DATA.ids[:6]).split(DATA)
LINEAR = {"samples": 100, "lr": 0.1, "sigma": 0.5, "l2": 0.2}


def stepped(seed=0, **settings):
    return NoisyDescent(**settings)(copy.deepcopy(MODEL), SPLIT, TASK, seed=seed)


def test_step_by_hand_without_noise():
    twin = copy.deepcopy(MODEL).requires_grad_(True)
    loss = TASK.losses(twin, TASK.batch(SPLIT.retain, torch.arange(len(SPLIT.retain)))).mean()
    gradients = torch.autograd.grad(loss, list(twin.parameters()))
    expected = [w - 0.1 * (g + 0.3 * w) for w, g in zip(MODEL.parameters(), gradients, strict=True)]
    found = stepped(steps=1, lr=0.1, sigma=0.0, l2=0.3, batch=7)  # in eight batches, and still the full gradient
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(found.parameters(), expected, strict=True))


def test_noise_has_the_stated_deviation():
    still = stepped(steps=1, lr=0.1, sigma=0.0)
    drawn = []
    for seed in range(40):
        noisy = stepped(seed, steps=1, lr=0.1, sigma=0.3)
        drawn.append(
            torch.cat([(a - b).flatten() for a, b in zip(noisy.parameters(), still.parameters(), strict=True)])
        )
    noise = torch.cat(drawn)
    assert abs(float(noise.mean())) < 5 * 0.3 * math.sqrt(0.2 / len(noise))
    assert abs(float(noise.std()) / (0.3 * math.sqrt(0.2)) - 1) < 5 / math.sqrt(2 * len(noise))


def test_it_forgets_a_class():
    data, task = between(), blob_task()
    model = BETWEEN.train(data, task, seeds=[0])[0]
    split = Request("r", data.where("label", 2).ids).split(data)
    after = NoisyDescent(steps=60, lr=0.5, sigma=0.01)(copy.deepcopy(model), split, task, seed=0)

    def right(of, part):
        batch = task.batch(part, torch.arange(len(part)))
        return float((task.logits(of, batch).argmax(1) == batch["labels"]).float().mean())

    assert right(model, split.forget) > 0.9
    assert right(after, split.forget) < 0.6
    assert right(after, split.retain) > 0.9


def test_contract_of_a_run_without_noise_or_decay():
    check_unlearner(NoisyDescent(steps=2, sigma=0.0, l2=0.0), NETWORK, DATA, TASK, ids=DATA.ids[:3])


# --- the accountant --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 2, 30])
@pytest.mark.parametrize("l2", [0.2, 10.0])
def test_divergence_is_that_of_the_gaussians_of_a_quadratic_loss(steps, l2):
    account = Deletion(convex=True, smooth=0.0, lipschitz=3.0, **{**LINEAR, "l2": l2})
    mean, variance = account.apart(4), 0.0
    assert mean == pytest.approx(2 * 4 * 3 / (100 * l2))
    for _ in range(steps):
        mean, variance = (1 - 0.1 * l2) * mean, (1 - 0.1 * l2) ** 2 * variance + 2 * 0.1 * 0.25
    for order in (1.5, 8.0):
        found = account.divergence(order, steps=steps, removed=4)
        assert found == pytest.approx(order * mean**2 / (2 * variance), abs=1e-12)
    grid = torch.linspace(1.0001, 400, 400000, dtype=torch.float64)
    best = (grid * account.divergence(2, steps=steps) / 2 + math.log(1e5) / (grid - 1)).min()
    assert account.epsilon(1e-5, steps=steps) <= float(best) + 1e-9


def test_two_chains_with_the_same_noise_stay_within_the_distance():
    g = torch.Generator().manual_seed(0)
    x = torch.nn.functional.normalize(torch.randn(40, 3, generator=g), dim=1).double() * 2
    y = torch.randint(3, (40,), generator=g)
    account = Deletion.of_softmax(2.0, samples=40, lr=0.2, sigma=0.1, l2=0.05)

    def step(w, rows, noise):
        w = w.clone().requires_grad_(True)
        loss = torch.nn.functional.cross_entropy(x[rows] @ w, y[rows]) + 0.025 * w.square().sum()
        return (w - 0.2 * torch.autograd.grad(loss, w)[0] + math.sqrt(0.4) * 0.1 * noise).detach()

    everyone, others = torch.arange(40), torch.arange(2, 40)
    a = b = torch.zeros(3, 3, dtype=torch.float64)
    for _ in range(300):
        noise = torch.randn(3, 3, generator=g).double()
        a, b = step(a, everyone, noise), step(b, others, noise)
    start = float((a - b).norm())
    assert 0 < start <= account.apart(2)
    for k in range(1, 40):
        noise = torch.randn(3, 3, generator=g).double()
        a, b = step(a, others, noise), step(b, others, noise)
        assert float((a - b).norm()) <= 0.99**k * start + 1e-12


def test_constants_of_a_softmax_layer_hold():
    g = torch.Generator().manual_seed(1)
    account = Deletion.of_softmax(1.5, samples=9, lr=0.1, sigma=1.0, l2=0.1)
    for _ in range(50):
        x = torch.nn.functional.normalize(torch.randn(4, generator=g), dim=0).double() * 1.5
        logits = 5 * torch.randn(3, generator=g).double()
        p = logits.softmax(0)
        gradient = torch.outer(p - torch.eye(3).double()[int(torch.randint(3, (), generator=g))], x)
        curvature = torch.kron(torch.diag(p) - torch.outer(p, p), torch.outer(x, x))
        assert gradient.norm() <= account.lipschitz + 1e-9
        assert torch.linalg.eigvalsh(curvature).max() <= account.smooth + 1e-9


def test_more_steps_noise_and_samples_make_it_smaller():
    def of(steps=10, removed=1, **changed):
        settings = {**LINEAR, "convex": True, "smooth": 1.0, "lipschitz": 1.0, **changed}
        return Deletion(**settings).divergence(2, steps=steps, removed=removed)

    assert of() > max(of(steps=20), of(sigma=1.0), of(samples=200))
    assert of() < min(of(removed=2), of(lipschitz=2.0))
    assert of(removed=3) == pytest.approx(9 * of())


@pytest.mark.parametrize(("wrong", "told"), [
    ({"convex": False}, "not convex"), ({"l2": 0.0}, "l2=0"), ({"smooth": math.inf}, "smoothness"),
    ({"lipschitz": math.inf}, "gradients"), ({"sigma": 0.0}, "sigma=0"), ({"lr": 0.9}, "lr=0.9"),
    ({"smooth": math.nan}, "smoothness"),
])  # fmt: skip
def test_no_number_outside_the_assumptions(wrong, told):
    with pytest.raises(TaskMismatch, match=told) as caught:
        Deletion(**{**LINEAR, "convex": True, "smooth": 1.0, "lipschitz": 1.0, **wrong})
    assert "\n" not in str(caught.value)


def test_refusals():
    account = Deletion(convex=True, smooth=1.0, lipschitz=1.0, **LINEAR)
    for ask in (
        lambda: account.divergence(1.0, steps=3),
        lambda: account.divergence(2.0, steps=0),
        lambda: account.divergence(2.0, steps=3, removed=100),
        lambda: account.epsilon(0.0, steps=3),
        lambda: NoisyDescent(sigma=-1.0),
        lambda: NoisyDescent(lr=0.0),
    ):
        with pytest.raises(SettingsError):
            ask()
