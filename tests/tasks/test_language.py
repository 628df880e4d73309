"""Next-token prediction, and the small transformer that does it."""

import dataclasses
import math

import pytest
import torch

from erasable.datasets.text import text
from erasable.errors import InvalidData, SettingsError, TaskMismatch
from erasable.models.gpt import GPT
from erasable.network import Network
from erasable.request import Request
from erasable.tasks.language import NextToken
from erasable.train import Recipe
from erasable.unlearner import forget
from erasable.unlearners.finetune import FineTune
from tests.toys import blob_task, blobs, sentences

DATA = sentences()
TASK = NextToken.of(DATA)
METHOD = Network(network="gpt width=16 depth=1 heads=2", recipe=Recipe(epochs=6, batch=8, lr=0.01, optimizer="adamw"))


def test_the_task_of_a_text(tmp_path):
    assert (TASK.vocabulary, TASK.length, TASK.shape) == (len(DATA.facts["vocabulary"]), 11, (11,))
    (tmp_path / "words.txt").write_text("to be or not to be, that is the question", encoding="utf-8")
    data = text(tmp_path / "words.txt", context=4)
    task = NextToken.of(data)
    assert task.fitted
    task.check(data)
    batch = task.batch(data, torch.tensor([1, 0]))
    words = [data.facts["vocabulary"][each] for each in batch["inputs"][1]]
    assert "".join(words) == "to b"
    assert torch.equal(batch["inputs"][:, 1:], batch["targets"][:, :-1])
    with pytest.raises(TaskMismatch):
        NextToken.of(blobs())


def test_losses_by_hand():
    def model(tokens):  # knows that 0 follows 0, and nothing else
        logits = torch.zeros(*tokens.shape, 4)
        logits[..., 0] = torch.where(tokens == 0, math.log(3.0), 0.0)
        return logits

    batch = {"inputs": torch.tensor([[0, 0], [1, 2]]), "targets": torch.tensor([[0, 3], [0, 0]])}
    expected = [(-math.log(3 / 6) - math.log(1 / 6)) / 2, math.log(4)]
    assert torch.allclose(NextToken(vocabulary=4, length=2).losses(model, batch), torch.tensor(expected))


def test_data_that_do_not_fit_are_refused():
    for task in (
        dataclasses.replace(TASK, tokens="words"),
        dataclasses.replace(TASK, length=5),
        dataclasses.replace(TASK, vocabulary=3),
    ):
        with pytest.raises(InvalidData):
            task.check(DATA)


def test_attention_is_causal_and_rows_are_independent():
    torch.manual_seed(0)
    model = GPT((6,), vocabulary=9, width=8, depth=2, heads=2)
    tokens = torch.randint(9, (3, 6))
    other = tokens.clone()
    other[:, 4] = (other[:, 4] + 1) % 9
    assert torch.allclose(model(tokens)[:, :4], model(other)[:, :4], atol=1e-6)
    assert not torch.allclose(model(tokens)[:, 4:], model(other)[:, 4:], atol=1e-4)
    assert torch.allclose(model(tokens)[1:2], model(tokens[1:2]), atol=1e-6)
    assert model(tokens[:, :3]).shape == (3, 3, 9)


def test_populations_of_language_models():
    together = METHOD.train(DATA, TASK, seeds=[0, 1])
    batch = TASK.batch(DATA, torch.arange(len(DATA)))
    for model, seed in zip(together, (0, 1), strict=True):
        assert model(batch["inputs"]).shape == (len(DATA), 11, TASK.vocabulary)
        assert float(TASK.losses(model, batch).mean()) < 0.9 * math.log(TASK.vocabulary)
        alone = METHOD.train(DATA, TASK, seeds=[seed])[0]
        for a, b in zip(model.parameters(), alone.parameters(), strict=True):
            assert torch.allclose(a, b, atol=1e-3)  # Adam divides by small numbers


def test_unlearners_work_on_language():
    model = METHOD.train(DATA, TASK, seeds=[0])[0]
    _, receipt = forget(model, Request("r", DATA.ids[:2]), data=DATA, unlearner=FineTune(epochs=1))
    assert receipt.weights_before != receipt.weights_after


def test_networks_and_tasks_must_fit():
    for network, task in (("convnet", TASK), ("mlp", TASK), ("gpt", blob_task())):
        with pytest.raises(TaskMismatch):
            Network(network=network).build(task)
    with pytest.raises(SettingsError):
        Network(network="gpt width=10 heads=4").build(TASK)
    with pytest.raises(SettingsError):
        Network(network="gpt vocabulary=5").build(TASK)
