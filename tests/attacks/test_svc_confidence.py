"""The confidence attack: by hand, quiet without a signal, ringing with one."""

import pytest
import torch

from erasable.attacks import svc_confidence as attack
from erasable.attacks.svc_confidence import CAP, shares
from erasable.errors import Misaligned
from erasable.evidence import Evidence


def confidence(values):
    values = torch.as_tensor(values, dtype=torch.float64)
    names = tuple(f"s{i}" for i in range(values.shape[1]))
    return Evidence("confidence", names, values, torch.zeros(values.shape, dtype=torch.bool))


def test_two_clear_groups_by_hand():
    members, others = confidence([[0.99, 0.98, 0.97, 0.96] * 5]), confidence([[0.1, 0.12, 0.14, 0.16] * 5])
    found = attack(members, others, confidence([[0.98, 0.97, 0.13, 0.15]]), subject="a", oracles=[25.0, 75.0])
    assert found.value == 50
    assert found.null_band == (25, 75)
    assert found.n == 4
    assert "20 members" in found.note


def test_sides_are_equal_capped_and_decided_by_the_seed():
    g = torch.Generator().manual_seed(0)
    members, others = confidence(torch.rand(1, 60, generator=g)), confidence(torch.rand(1, 40, generator=g))
    asked = confidence(torch.rand(1, 500, generator=g))
    assert "40 members and as many others" in attack(members, others, asked, subject="a").note
    assert shares(members, others, asked, seed=1) == shares(members, others, asked, seed=1)
    assert CAP == 2_000
    with pytest.raises(Misaligned):
        shares(members, others, confidence(torch.rand(2, 5)))


def test_alarm_and_null_control_as_rates():
    """Members are surer than others: erased samples like members are called members, those like others are not."""
    g = torch.Generator().manual_seed(0)

    def sure():
        return confidence(0.9 + 0.1 * torch.rand(1, 80, generator=g))

    def unsure():
        return confidence(0.5 + 0.5 * torch.rand(1, 80, generator=g))

    clean = [share for _ in range(50) for share in shares(sure(), unsure(), unsure())]
    remembered = [share for _ in range(50) for share in shares(sure(), unsure(), sure())]
    fresh = [share for _ in range(50) for share in shares(sure(), unsure(), unsure())]
    low, high = min(clean), max(clean)
    assert sum(not low <= each <= high for each in fresh) / 50 < 0.15  # stated: twice in 51
    assert sum(low <= each <= high for each in remembered) / 50 < 0.1
