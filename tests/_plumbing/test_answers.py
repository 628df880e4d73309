"""Answers of both tasks in one pass, and divergences by hand."""

import math

import pytest
import torch

from erasable._plumbing.answers import answers, divergence, refuse_unanswered
from erasable.errors import TaskMismatch
from erasable.network import Network
from erasable.tasks.language import NextToken
from tests.toys import NETWORK, TINY, blob_task, blobs, sentences


def test_answers_of_a_classifier_and_of_a_language_model_take_one_pass():
    data, lines = blobs(), sentences()
    for task, rows, method in (
        (blob_task(), data, NETWORK),
        (NextToken.of(lines), lines, Network(network="gpt width=8 depth=1 heads=2", recipe=TINY)),
    ):
        model = method.build(task)
        batch = task.batch(rows, torch.arange(5))
        calls = []
        found, losses = answers(lambda *x, model=model, calls=calls: (calls.append(1), model(*x))[1], task, batch)
        assert len(calls) == 1
        assert torch.equal(found, model(batch["inputs"]))
        assert torch.equal(losses, task.losses(model, batch))
        assert divergence(found, torch.zeros_like(found)).shape == (5,)
        refuse_unanswered(task, method)


def test_divergence_by_hand():
    teacher, student = torch.tensor([[3.0, 1.0]]).log(), torch.tensor([[1.0, 1.0]]).log().requires_grad_()
    expected = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert float(divergence(teacher, student).detach()) == pytest.approx(expected)
    assert float(divergence(teacher, teacher)) == pytest.approx(0.0)
    root = 3**0.5 / (1 + 3**0.5)  # at temperature 2 odds of 3 : 1 are odds of sqrt 3 : 1
    softened = root * math.log(2 * root) + (1 - root) * math.log(2 * (1 - root))
    assert float(divergence(teacher, student, 2.0).detach()) == pytest.approx(softened)
    divergence(teacher, student).sum().backward()
    assert torch.allclose(student.grad, torch.tensor([[-0.25, 0.25]]))  # q - p


def test_divergence_is_the_mean_over_positions():
    g = torch.Generator().manual_seed(0)
    teacher, student = torch.randn(2, 3, 4, generator=g), torch.randn(2, 3, 4, generator=g)
    slow = [sum(divergence(teacher[i, t][None], student[i, t][None]) for t in range(3)) / 3 for i in range(2)]
    assert torch.allclose(divergence(teacher, student), torch.cat(slow))


def test_a_task_without_answers_is_refused():
    with pytest.raises(TaskMismatch, match="compares answers"):
        refuse_unanswered(object(), NETWORK)
