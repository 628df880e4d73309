"""A request that was chosen by looking at the model: the samples nearest to a decision boundary, or the surest ones.

People ask for deletion because of what a model told them, so requests depend on the weights, and through them on the
samples of earlier requests. A guarantee for requests that were fixed beforehand says nothing here. V. Gupta et al.,
*Adaptive machine unlearning* (NeurIPS 2021, arXiv 2106.04378); R. Chourasia, N. Shah, *Forget unlearning* (ICML 2023,
arXiv 2210.08911).
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch

from erasable._plumbing.seeds import generator
from erasable.dataset import Dataset
from erasable.errors import EmptyRequest, Misaligned, SettingsError
from erasable.evidence import Evidence
from erasable.request import Request
from erasable.scenario import Scenario
from erasable.scenarios._choice import portion, refuse_share
from erasable.task import Task

Choice = Literal["boundary", "confident"]
TRUTH = (
    "Tests a request that depends on the model: the goal is a model retrained without exactly these samples, "
    "and what an earlier request erased may not show through the choice of a later one."
)


@dataclass(frozen=True, kw_only=True)
class Adaptive:
    """`share` of all samples with the smallest ("boundary") or largest ("confident") lead of the first answer.

    The lead is the log-probability of a model's first answer minus that of its second, in nats. A call chooses one
    request. Whoever goes on (`erasable.rehearsal`) calls again for each of the `rounds`, with what the model says then.
    """

    choice: Choice = "boundary"
    share: float = 0.01
    rounds: int = 10

    def __post_init__(self) -> None:
        refuse_share(self.share)
        if self.rounds < 1:
            raise SettingsError(f"rounds={self.rounds}", expected="1 or more", do="correct the number")
        if self.choice not in get_args(Choice):
            raise SettingsError(f"choice '{self.choice}'", expected="boundary or confident", do="choose one of them")

    def __call__(self, data: Dataset, task: Task, *, seen: Evidence, seed: int) -> Scenario:
        """`data` is what is left by now, `seen` the signal `log_probabilities` of the current model on (some of) it.

        The group "next in line", where there is one, would be chosen from the same outputs if these samples were not
        there: erasing the most exposed can expose the next. The seed orders equal leads. Raises Misaligned for other
        evidence, UnknownSample, EmptyRequest where fewer samples may be erased.
        """
        task.check(data)
        if seen.signal != "log_probabilities" or seen.models != 1 or seen.values.ndim != 3 or seen.values.shape[2] < 2:
            raise Misaligned(f"'{seen.signal}' of {seen.models} models, shape {tuple(seen.values.shape)}",
                             expected="log_probabilities of one model, two classes or more",
                             do="give the current model's, with Evidence.model(0)")  # fmt: skip
        if len(set(seen.ids)) < len(seen.ids):
            raise Misaligned("the evidence names a sample twice", expected="each once", do="look at a view of the data")
        at = data.positions(seen.ids)
        mixed = torch.randperm(len(at), generator=generator(seed, "adaptive"))
        best = seen.values[0, mixed].topk(2, dim=1).values.cpu()
        lead = best[:, 0] - best[:, 1]
        ranked = mixed[lead.sort(stable=True, descending=self.choice == "confident").indices].numpy()
        open_to_all = set(data.public.ids)
        able = torch.tensor([at[each] for each in ranked if seen.ids[each] not in open_to_all], dtype=torch.int64)
        count = portion(self.share, len(data))
        if count > len(able):
            raise EmptyRequest(f"{count} samples of {len(able)} that were looked at and may be erased",
                               expected="no more than there are", do="look at more, or lower the share")  # fmt: skip
        forget = data.take(able[:count].sort().values)
        following = data.take(able[count : 2 * count].sort().values)
        return Scenario("adaptive", data, (Request(f"adaptive ({self.choice}), seed {seed}", forget.ids),), TRUTH,
                        {"next in line": following} if len(following) else {},
                        {"choice": self.choice, "share": self.share, "seed": seed, "looked_at": len(at)})  # fmt: skip
