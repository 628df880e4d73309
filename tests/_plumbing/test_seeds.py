"""Seeds by name."""

import torch

from erasable._plumbing.seeds import child, generator, seeded


def test_children_are_fixed_numbers_that_depend_on_every_name():
    assert child(0, "init") == child(0, "init")
    assert child(7, "a", 1) == 7657576676628874343  # a stored number: models trained with a seed stay reproducible
    several = [child(seed, *names) for seed in (0, 1) for names in ((), ("a",), ("b",), ("a", 1), ("a", 2))]
    assert len(set(several)) == len(several)
    assert all(0 <= each < 2**63 for each in several)


def test_generators_are_fresh_and_leave_the_global_one_alone():
    before = torch.get_rng_state()
    draws = [torch.rand(3, generator=generator(5, "x")) for _ in range(2)]
    assert torch.equal(*draws)
    assert not torch.equal(draws[0], torch.rand(3, generator=generator(5, "y")))
    assert torch.equal(torch.get_rng_state(), before)


def test_seeded_decides_global_draws_inside_and_puts_them_back():
    before = torch.get_rng_state()
    draws = []
    for _ in range(2):
        with seeded(3, "init"):
            draws.append(torch.rand(2))
    assert torch.equal(*draws)
    assert torch.equal(torch.get_rng_state(), before)
    try:
        with seeded(3):
            torch.rand(1)
            raise KeyError
    except KeyError:
        pass
    assert torch.equal(torch.get_rng_state(), before)
