"""Requests chosen by the model's outputs: by hand, and evidence that cannot be used."""

import pytest
import torch

from erasable.errors import EmptyRequest, Misaligned, SettingsError, UnknownSample
from erasable.evidence import Evidence
from erasable.scenarios import Adaptive
from tests.scenarios.toy import TASK
from tests.toys import blobs

DATA = blobs(10)
LEADS = [0.5, 0.1, 3.0, 0.2, 2.0, 0.9, 0.0, 1.0, 5.0, 0.7]  # of the first answer over the second, in nats


def seen(leads=LEADS, ids=DATA.ids, signal="log_probabilities", models=1):
    lead = torch.tensor(leads, dtype=torch.float64)
    values = torch.stack([torch.full_like(lead, -9.0), lead - 6, torch.full_like(lead, -6.0)], 1)
    values = values.expand(models, -1, -1)
    return Evidence(signal, tuple(ids), values, torch.ones(values.shape[:2], dtype=torch.bool))


@pytest.mark.parametrize(
    ("choice", "chosen", "following"),
    [("boundary", {"blob/006", "blob/001"}, {"blob/003", "blob/000"}),
     ("confident", {"blob/008", "blob/002"}, {"blob/004", "blob/007"})],
)  # fmt: skip
def test_by_hand(choice, chosen, following):
    scenario = Adaptive(choice=choice, share=0.2)(DATA, TASK, seen=seen(), seed=0)
    assert set(scenario.request.ids) == chosen
    assert set(scenario.groups["next in line"].ids) == following


def test_the_order_of_the_evidence_does_not_matter():
    order = [3, 1, 4, 0, 5, 9, 2, 6, 8, 7]
    turned = seen([LEADS[i] for i in order], [DATA.ids[i] for i in order])
    one, other = (Adaptive(share=0.3)(DATA, TASK, seen=each, seed=0).record() for each in (seen(), turned))
    assert one == other


def test_a_second_round_chooses_among_what_is_left():
    first = Adaptive(share=0.2)(DATA, TASK, seen=seen(), seed=0)
    left = first.before(1)
    again = seen([LEADS[i] for i in (0, 2, 3, 4, 5, 7, 8, 9)], left.ids)
    assert set(Adaptive(share=0.25)(left, TASK, seen=again, seed=0).request.ids) == {"blob/003", "blob/000"}
    with pytest.raises(UnknownSample):
        Adaptive()(left, TASK, seen=seen(), seed=0)  # outputs on samples that are gone


def test_public_samples_are_passed_over_and_those_not_looked_at():
    data = DATA.declare_public(["blob/006"])
    scenario = Adaptive(share=0.1)(data, TASK, seen=seen(LEADS[2:], DATA.ids[2:]), seed=0)
    assert scenario.request.ids == ("blob/003",)
    assert scenario.facts["looked_at"] == 8
    with pytest.raises(EmptyRequest, match="2 samples of 1"):
        Adaptive(share=0.2)(data, TASK, seen=seen(LEADS[6:8], DATA.ids[6:8]), seed=0)
    whole = Adaptive(share=0.9)(DATA, TASK, seen=seen(LEADS[:9], DATA.ids[:9]), seed=0)
    assert whole.groups == {}  # nobody is next


def test_equal_leads_are_drawn():
    drawn = {Adaptive(share=0.1)(DATA, TASK, seen=seen([1.0] * 10), seed=seed).request.ids for seed in range(80)}
    assert len(drawn) == 10


def test_other_evidence_is_refused():
    flat = Evidence("log_probabilities", DATA.ids, torch.zeros(1, 10), torch.ones(1, 10, dtype=torch.bool))
    for wrong in (seen(signal="logits"), seen(models=2), flat, seen(ids=DATA.ids[:9] + DATA.ids[:1])):
        with pytest.raises(Misaligned):
            Adaptive()(DATA, TASK, seen=wrong, seed=0)
    with pytest.raises(SettingsError, match="boundary or confident"):
        Adaptive(choice="surest")
