"""Handwritten digits: 1,797 real grey pictures, 8 x 8, that come with scikit-learn. The set for a first run.

E. Alpaydin, C. Kaynak: Optical recognition of handwritten digits. UCI Machine Learning Repository, 1998; its test part.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from erasable.dataset import Dataset
from erasable.datasets._extra import extra
from erasable.datasets._labels import label_column
from erasable.datasets._order import held_out
from erasable.datasets._part import Part, checked, part_name, public_mask
from erasable.datasets.owners import synthetic_owners

SOURCE = "UCI optical recognition of handwritten digits (Alpaydin, Kaynak 1998) as in scikit-learn; CC BY 4.0."


def digits(part: Part = "train", *, public: int = 0) -> Dataset:
    """image (n, 1, 8, 8) bytes from 0 to 16, label (n,); ids such as "digits/00042", numbered as in scikit-learn.

    One in five of each class, always the same ones, form the test part. Owners are made up. The first `public` samples
    of a fixed shuffle are declared not erasable. Raises UnknownName, SettingsError.
    """
    checked(part, "digits")
    loaded = extra("sklearn.datasets", package="scikit-learn", why="the data set 'digits'").load_digits()
    n = len(loaded.target)
    test = held_out(loaded.target, "digits")
    rows = np.flatnonzero({"train": ~test, "test": test, "all": np.ones(n, np.bool_)}[part])
    ids = [f"digits/{row:05d}" for row in rows]
    label, classes = label_column(loaded.target[rows], ids, "digits")
    facts: Mapping[str, Any] = {
        "inputs": "image", "classes": classes, "low": 0, "high": 16, "scaling": "nominal", "owners": "synthetic",
        "source": SOURCE,
    }  # fmt: skip
    name = part_name("digits", part)
    image = torch.from_numpy(loaded.images[rows].astype(np.uint8)).unsqueeze(1)
    return Dataset.of({"image": image, "label": label}, ids, owners=synthetic_owners(n, name="digits")[rows], name=name,
                      public=public_mask(len(ids), public, name), facts=facts)  # fmt: skip
