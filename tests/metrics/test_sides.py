"""Sides of an unlearning game: who stands on which, in every split."""

import pytest
import torch

from erasable.errors import EvidenceError, Misaligned, PopulationTooSmall
from erasable.evidence import Evidence
from erasable.metrics import _sides
from erasable.metrics._sides import by_sample, judged, sides

MODELS, SAMPLES, SPLITS = 32, 40, 5


def game():
    """The value says which model and which sample it is of."""
    draws = torch.Generator().manual_seed(0)
    member = torch.rand(MODELS, SAMPLES, generator=draws) < 0.5
    unlearned = member & (torch.rand(MODELS, SAMPLES, generator=draws) < 0.3)
    values = torch.arange(MODELS, dtype=torch.float64)[:, None] + 100 * torch.arange(SAMPLES)
    return Evidence("margin", tuple(map(str, range(SAMPLES))), values, member), unlearned, ~member


@pytest.mark.parametrize("piece", [_sides.PIECE, 3 * SPLITS * MODELS])
def test_everybody_stands_where_they_belong(monkeypatch, piece):
    monkeypatch.setattr(_sides, "PIECE", piece)
    evidence, unlearned, never = game()
    given, seen = judged(evidence, unlearned, never), []
    enough = (unlearned.sum(0) >= 3) & (never.sum(0) - unlearned.sum(0) >= max(10, given.size))
    assert torch.equal(given.at, torch.nonzero(enough).flatten())
    for each in sides(evidence, unlearned, never, given, splits=SPLITS, seed=0, name="x"):
        ours, others = (by_sample(part, SPLITS) for part in (each.unlearned, torch.cat([each.as_many, each.rest])))
        for column, at in enumerate(each.at.tolist()):
            seen.append(at)
            who = set(torch.nonzero(unlearned[:, at]).flatten().tolist())
            for split in range(SPLITS):
                assert {each - 100 * at for each in ours[:, split, column].tolist()} == who
                drawn = [each - 100 * at for each in others[:, split, column].tolist()]
                assert len(set(drawn)) == len(drawn) == len(who) + given.size
                assert set(drawn) <= set(torch.nonzero(never[:, at]).flatten().tolist())
            assert len({tuple(sorted(others[:3, split, column].tolist())) for split in range(SPLITS)}) > 1
    assert sorted(seen) == given.at.tolist()


def test_the_note_says_how_many_there_are():
    evidence, unlearned, never = game()
    given = judged(evidence, unlearned, never)
    low, high = int(given.k.min()), int(given.k.max())
    assert given.note == (f"{len(given.at)} samples; {low} to {high} models that unlearned each against {given.size} "
                          "that never had it")  # fmt: skip


def test_what_does_not_fit_is_refused():
    evidence, unlearned, never = game()
    with pytest.raises(Misaligned, match="on both sides"):
        judged(evidence, unlearned, never | unlearned)
    with pytest.raises(Misaligned, match="two bools"):
        judged(evidence, unlearned.float(), never)
    few = Evidence("margin", evidence.ids, evidence.values[:12], evidence.member[:12])
    with pytest.raises(PopulationTooSmall, match="3 models unlearned and 13 never had"):
        judged(few, unlearned[:12], never[:12])
    with pytest.raises(EvidenceError, match="0 splits"):
        next(sides(evidence, unlearned, never, judged(evidence, unlearned, never), splits=0, seed=0, name="x"))
