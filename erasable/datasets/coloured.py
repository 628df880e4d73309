"""Coloured pictures: a grey data set with a short cut, for most pictures of a class wear the class's own colour.

    colour c       the hue c / classes of the colour circle; class c's own colour is number c
    bias-aligned   colour = label: a share `biased` of every class
    conflicting    the others, in a colour that belongs to another class, each with the same probability

Train on `biased=0.995` and test on `biased=0.5`, and a network that reads the colour shows. The paler the colours, the
less it reads: with a `saturation` of 1 a small network may look at nothing else, near 0 it looks at the shapes. The
pictures are those that are given, by the same ids and owners. The background stays, so it should be dark.

Digits whose colour nearly tells the class are from Kim, Kim, Kim, Kim, Kim (2019), "Learning not to learn",
arXiv:1812.10352, and from J. Nam et al. (2020), "Learning from failure", arXiv:2007.02561, with shares up to 99.5 %.
Differs: their colours vary around each class's own; these do not, and may be pale instead.
"""

import colorsys

import numpy as np
import torch
from torch import Tensor

from erasable._plumbing.seeds import generator
from erasable.dataset import Dataset
from erasable.errors import InvalidData, SettingsError

AT_A_TIME = 4096  # pictures that are multiplied as floating-point numbers at once


def coloured(
    data: Dataset, *, biased: float = 0.995, saturation: float = 1.0, seed: int = 0, label: str = "label"
) -> Dataset:
    """image (n, 3, height, width) of the given type, `label` (n,) as it was, colour (n,); the same ids in their order.

    In each class exactly `biased` of the pictures, rounded down, wear its colour. Seed and ids decide which: a larger
    share has the aligned pictures of a smaller one, and the others keep their colours. Facts: `colours`, the palette as
    shares of red, green and blue; `biased` and `colour_seed`. All pictures are read, and take three times the room.

    Raises SettingsError: a share outside [0, 1], a saturation outside (0, 1]. InvalidData: no facts about inputs,
    classes and one range for all pixels; pictures with more than one channel; a label that is no class; a single class,
    which has no other colour.
    """
    if not 0 <= biased <= 1:
        raise SettingsError(f"biased={biased}", expected="a share from 0 to 1", do="correct the share")
    if not 0 < saturation <= 1:
        raise SettingsError(f"saturation={saturation}", expected="above 0 and at most 1", do="correct it")
    inputs, classes, low = _described(data)
    labels = _labels(data, label, classes)
    colour, draws = labels.clone(), generator(seed, "coloured")
    order = np.argsort(np.asarray(data.ids))  # not the order of the view
    place, other = torch.empty(len(data)), torch.empty(len(data), dtype=torch.int64)
    place[order] = torch.rand(len(data), generator=draws)
    other[order] = torch.randint(1, classes, (len(data),), generator=draws)
    for each in range(classes):
        at = torch.nonzero(labels == each).flatten()
        conflicting = at[place[at].argsort(stable=True)[int(biased * len(at) + 1e-9) :]]
        colour[conflicting] = (each + other[conflicting]) % classes
    shades = palette(classes, saturation)
    facts = {**data.facts, "inputs": "image", "colours": shades.tolist(), "biased": biased, "colour_seed": seed}
    columns = {"image": _painted(data, inputs, shades[colour], low), label: data.read(label), "colour": colour}
    public = None if not len(data.public) else np.isin(data.ids, data.public.ids)
    return Dataset.of(columns, data.ids, owners=data.owners, public=public, name=f"{data.name}, coloured", facts=facts)


def palette(classes: int, saturation: float = 1.0) -> Tensor:
    """Shares of red, green and blue, (classes, 3), evenly spaced hues. The more there are, the more they look alike."""
    return torch.tensor([colorsys.hsv_to_rgb(each / classes, saturation, 1.0) for each in range(classes)])


def _described(data: Dataset) -> tuple[str, int, float]:
    """The column of the pictures, the number of classes, and the value of black."""
    facts = data.facts
    if missing := [each for each in ("inputs", "classes", "low") if each not in facts]:
        raise InvalidData(f"'{data.name}' does not tell its {' and '.join(missing)}",
                          expected="facts with inputs, classes and low", do="add the facts")  # fmt: skip
    inputs, low, classes = str(facts["inputs"]), torch.as_tensor(facts["low"]).flatten(), len(facts["classes"])
    shape = tuple(data.read(inputs, np.arange(0)).shape[1:])
    if len(shape) != 3 or shape[0] != 1 or len(low) != 1:
        raise InvalidData(f"inputs of '{data.name}' have the shape {shape} and {len(low)} lower ends",
                          expected="grey pictures, (1, height, width), with one range for all pixels",
                          do="choose such data")  # fmt: skip
    if classes < 2:
        raise InvalidData(f"'{data.name}' has {classes} classes", expected="two at least, so that there is another "
                          "colour", do="choose other data")  # fmt: skip
    return inputs, classes, float(low[0])


def _labels(data: Dataset, column: str, classes: int) -> Tensor:
    values = data.read(column).cpu()
    if values.ndim != 1:
        raise InvalidData(f"column '{column}' of '{data.name}' has the shape {list(values.shape)}",
                          expected="one number per sample", do="name the column of the labels")  # fmt: skip
    bad = values[(values != values.long()) | (values < 0) | (values >= classes)]
    if len(bad):
        raise InvalidData(f"column '{column}' of '{data.name}' has the value {bad[0].item()}",
                          expected=f"whole numbers from 0 to {classes - 1}", do="correct the labels")  # fmt: skip
    return values.long()


def _painted(data: Dataset, inputs: str, shades: Tensor, low: float) -> Tensor:
    """low + (picture - low) * shade, (n, 3, height, width)."""
    parts = []
    for at in torch.split(torch.arange(len(data)), AT_A_TIME):
        grey = data.read(inputs, at).cpu()
        painted = low + (grey.float() - low) * shades[at][:, :, None, None]
        parts.append((painted if grey.is_floating_point() else painted.round()).to(grey.dtype))
    return torch.cat(parts)
