"""The nearest step that no gradient objects to: against trying every active set, and the conditions of a minimum."""

from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from erasable._plumbing.cone import basis, combined, gram, multipliers, products


def problem(seed, columns, weights=6, repeat=False):
    g = torch.Generator().manual_seed(seed)
    rows = torch.randn(columns, weights, generator=g).double() * 10 ** torch.randn(columns, 1, generator=g).double()
    if repeat:
        rows[-1] = 3 * rows[0]
    step, inverse = torch.randn(weights, generator=g).double(), torch.rand(weights, generator=g).double() + 0.1
    split = lambda v: (v[:2], v[2:].view(2, -1))  # noqa: E731 (two parameters)
    return rows, step, inverse, [split(row) for row in rows], split(step), split(inverse)


def by_trying(rows, step, inverse):
    """The least of all feasible points that some set of constraints, held with equality, gives."""
    best = None
    for size in range(len(rows) + 1):
        for chosen in combinations(range(len(rows)), size):
            g = rows[list(chosen)]
            away = g.T @ torch.linalg.lstsq((g * inverse) @ g.T, g @ step, driver="gelsd").solution if size else 0
            found = step - inverse * away
            if (rows @ found <= 1e-9 * rows.norm(dim=1)).all():
                cost = ((found - step).square() / inverse).sum()
                best = (cost, found) if best is None or cost < best[0] else best
    return best[1]


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**31), columns=st.integers(1, 5), repeat=st.booleans())
def test_it_is_the_minimum(seed, columns, repeat):
    rows, step, inverse, cols, step_parts, inverse_parts = problem(seed, columns, repeat=repeat and columns > 1)
    against = products(cols, step_parts)
    assert torch.allclose(against, rows @ step)
    square = gram(cols, inverse_parts)
    assert torch.allclose(square, (rows * inverse) @ rows.T)
    by = multipliers(square, against)
    away = torch.cat([part.flatten() for part in combined(cols, by)])
    found = step - inverse * away
    sizes = rows.norm(dim=1)
    assert (by >= 0).all()
    assert (rows @ found <= 1e-9 * sizes * step.norm()).all()  # nobody objects
    assert abs(float(by @ (rows @ found))) <= 1e-8 * float(by @ sizes) + 1e-12  # and only those who would take
    assert torch.allclose(found, by_trying(rows, step, inverse), atol=1e-6)


def test_no_objection_no_change():
    _, _, _, cols, step, inverse = problem(0, 3)
    flipped = [tuple(-part if float(product) > 0 else part for part in col)
               for col, product in zip(cols, products(cols, step), strict=True)]  # fmt: skip
    assert torch.equal(multipliers(gram(flipped, inverse), products(flipped, step)), torch.zeros(3).double())
    empty = [tuple(torch.zeros_like(part) for part in step)]
    assert multipliers(gram(empty, inverse), products(empty, step)).tolist() == [0]
    assert basis(gram(empty, inverse)).shape == (1, 0)


@pytest.mark.parametrize("repeat", [False, True])
def test_the_basis_is_orthonormal_in_the_metric(repeat):
    rows, _, inverse, cols, _, inverse_parts = problem(3, 4, repeat=repeat)
    q = (rows * inverse.sqrt()).T @ basis(gram(cols, inverse_parts))
    assert q.shape[1] == 4 - repeat
    assert torch.allclose(q.T @ q, torch.eye(q.shape[1]).double(), atol=1e-8)
