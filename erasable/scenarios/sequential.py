"""Many small requests, one after another, as they come in practice: ten of 1 % rather than one of 10 %.

What a method leaves behind at each step can add up, and so can the harm to what stays. A method that looks clean after
one request may drift after ten; the oracles of the last round are trained without any of them.
"""

from dataclasses import asdict, dataclass

import torch

from erasable._plumbing.seeds import generator
from erasable.dataset import Dataset
from erasable.errors import SettingsError
from erasable.request import Request
from erasable.scenario import Scenario
from erasable.scenarios._choice import portion, refuse_share
from erasable.task import Task

TRUTH = (
    "Tests requests that follow each other: after each one the goal is a model retrained on what is left by then, "
    "for the samples of every earlier request as well, and nothing may add up."
)


@dataclass(frozen=True, kw_only=True)
class Sequential:
    """`rounds` requests, each for `share` of all samples at random, no sample twice."""

    rounds: int = 10
    share: float = 0.01

    def __post_init__(self) -> None:
        refuse_share(self.share)
        if self.rounds < 1:
            raise SettingsError(f"rounds={self.rounds}", expected="1 or more", do="correct the number")

    def __call__(self, data: Dataset, task: Task, *, seed: int) -> Scenario:
        """Raises SettingsError where fewer samples may be erased, EmptyRequest where nothing would stay."""
        task.check(data)
        private, size = data.private, portion(self.share, len(data))
        if self.rounds * size > len(private):
            raise SettingsError(f"{self.rounds} requests for {size} samples, of {len(private)} that may be erased",
                                expected="no more than there are", do="lower the share or the rounds")  # fmt: skip
        order = torch.randperm(len(private), generator=generator(seed, "sequential"))
        requests = tuple(
            Request(f"{i + 1} of {self.rounds}, seed {seed}",
                    private.take(order[i * size : (i + 1) * size].sort().values).ids)
            for i in range(self.rounds)
        )  # fmt: skip
        return Scenario("sequential", data, requests, TRUTH, facts={**asdict(self), "seed": seed})
