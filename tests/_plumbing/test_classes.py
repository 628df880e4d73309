"""Which classes a request is about."""

import pytest
import torch

from erasable._plumbing.batching import labels_of, numbered, shuffled
from erasable._plumbing.classes import whole_classes
from erasable.errors import RequestError
from erasable.request import Request
from tests.toys import blob_task, blobs

DATA, TASK = blobs(12), blob_task()


def test_whole_classes_in_order_and_refusal_of_parts():
    ids = [*DATA.where("label", 2).ids, *DATA.where("label", 0).ids]
    assert whole_classes(TASK, Request("r", ids).split(DATA), TASK).tolist() == [0, 2]
    with pytest.raises(RequestError, match="1 samples of class 2 would stay"):
        whole_classes(TASK, Request("r", ids[1:]).split(DATA), TASK)


def test_numbered_batches_are_those_of_shuffled_with_their_positions():
    plain = list(shuffled(TASK, DATA, 5, epochs=2, seed=3))
    told = list(numbered(TASK, DATA, 5, epochs=2, seed=3))
    labels = labels_of(TASK, DATA)
    assert [len(at) for at, _ in told] == [5, 5, 2] * 2
    for batch, (at, same) in zip(plain, told, strict=True):
        assert all(torch.equal(batch[name], same[name]) for name in batch)
        assert torch.equal(same["labels"], labels[at])
