"""The accuracy of every class on its own, and of the class that is answered worst, in per cent.

An average over classes hides one that pays for all the others, such as the neighbour of a class that was erased. The
oracles' values stand beside each. One finding per class is many findings: pass them through `evidence.joint` together,
or some class will look unusual by chance alone. The worst class was picked by looking, so the interval of its one
model (exact binomial, at that class's samples) is too narrow; its oracles, each with its own worst class, are picked
alike and may be compared.

A class that is `gone` (of which no training sample remains) is no longer owed an answer: it is left out, and every note
says so. To ask what a model still knows of it, leave `gone` empty.
"""

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from erasable.errors import EvidenceError, Misaligned
from erasable.evidence import Direction, Evidence, Finding, aligned
from erasable.metrics.accuracy import accuracy


def per_class(
    target: Evidence,
    labels: Tensor,
    oracles: Evidence | None = None,
    *,
    subject: str,
    on: str,
    names: Sequence[str] = (),
    gone: Collection[int] = (),
    direction: Direction = "match",
) -> tuple[Finding, ...]:
    """One finding per class that is left, in the order of labels. From the signal `correct`.

    labels  (samples,) integers, the right answers; `names` says what they are called
    on      which samples these are: forget, retain or test

    Raises Misaligned, EvidenceError where no class is left.
    """
    rows, note = _classes(target, labels, oracles, names, gone, on)
    found = []
    for label, at in rows.items():
        beside = None if oracles is None else _only(oracles, at)
        finding = accuracy(_only(target, at), beside, subject=subject, on=on, direction=direction)
        found.append(finding.model_copy(update={"metric": f"{on} accuracy of {_name(label, names)}", "note": note}))
    return tuple(found)


def worst_class(
    target: Evidence,
    labels: Tensor,
    oracles: Evidence | None = None,
    *,
    subject: str,
    on: str,
    names: Sequence[str] = (),
    gone: Collection[int] = (),
    direction: Direction = "higher",
) -> Finding:
    """The lowest accuracy of any class, averaged over models that each have their own worst. Arguments of `per_class`.

    The note tells which class it is and what was left out. Raises Misaligned, EvidenceError.
    """
    rows, note = _classes(target, labels, oracles, names, gone, on)
    which, shares = _worst(target, rows)
    value, sizes = float(shares.mean()), [len(rows[each]) for each in which]
    told = ", ".join(dict.fromkeys(f"{_name(each, names)} ({len(rows[each])} samples)" for each in which))
    finding = Finding(metric=f"{on} accuracy of the worst class", subject=subject, value=value, unit="%", n=min(sizes),
                      interval=accuracy(_only(target, rows[which[0]]), subject=subject, on=on).interval
                      if target.models == 1 else None, models=target.models, direction=direction,
                      resolution=100 / min(sizes), note="; ".join(filter(None, (told, note))))  # fmt: skip
    return finding if oracles is None else finding.beside(_worst(oracles, rows)[1].tolist())


def _classes(
    target: Evidence, labels: Tensor, oracles: Evidence | None, names: Sequence[str], gone: Collection[int], on: str
) -> tuple[dict[int, Tensor], str]:
    """Label -> positions of its samples, and what was left out in words."""
    if target.signal != "correct" or labels.shape != (len(target.ids),):
        raise Misaligned(f"the signal '{target.signal}' on {len(target.ids)} samples, labels {tuple(labels.shape)}",
                         expected="the signal 'correct' and one label per sample",
                         do="take both from the same data")  # fmt: skip
    if oracles is not None:
        aligned(target, oracles)
    present = sorted(set(labels.tolist()))
    rows = {each: torch.nonzero(labels == each).flatten() for each in present if each not in set(gone)}
    lost = [_name(each, names) for each in sorted(set(gone))]
    empty = [name for at, name in enumerate(names) if at not in present and at not in set(gone)]
    notes = [f"left out, as no training sample remains: {', '.join(lost)}"] if lost else []
    notes += [f"without samples here: {', '.join(empty)}"] if empty else []
    if not rows:
        raise EvidenceError(f"the {on} samples are all of classes that are gone ({', '.join(lost)})",
                            expected="a class that is left", do="leave `gone` empty to ask about these")  # fmt: skip
    return rows, "; ".join(notes)


def _worst(evidence: Evidence, rows: dict[int, Tensor]) -> tuple[list[int], Tensor]:
    """Each model's worst class, the first of equals, and its accuracy in per cent (models,)."""
    shares = torch.stack([100 * evidence.values[:, at].mean(dim=1) for at in rows.values()])  # (classes, models)
    low = shares.min(dim=0).values
    first = (shares == low).int().argmax(dim=0).tolist()
    return [list(rows)[each] for each in first], low


def _only(evidence: Evidence, at: Tensor) -> Evidence:
    ids = tuple(evidence.ids[each] for each in at.tolist())
    return Evidence(evidence.signal, ids, evidence.values[:, at], evidence.member[:, at])


def _name(label: int, names: Sequence[str]) -> str:
    return names[label] if 0 <= label < len(names) else f"class {label}"
