"""Breast Cancer Wisconsin (diagnostic): 569 patients, 30 measurements of cell nuclei each. Comes with scikit-learn.

W. N. Street, W. H. Wolberg, O. L. Mangasarian: Nuclear feature extraction for breast tumor diagnosis. SPIE 1905, 1993.
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

SOURCE = "UCI breast cancer Wisconsin, diagnostic (Wolberg, Street, Mangasarian 1995) as in scikit-learn; CC BY 4.0."

# The table of ranges that the set was published with: constants, so that scaling learns nothing of the patients here.
# Mean, standard error and worst value of: radius, texture, perimeter, area, smoothness, compactness, concavity, concave
# points, symmetry, fractal dimension.
LOW = (
    6.981, 9.71, 43.79, 143.5, 0.053, 0.019, 0.0, 0.0, 0.106, 0.05,
    0.112, 0.36, 0.757, 6.802, 0.002, 0.002, 0.0, 0.0, 0.008, 0.001,
    7.93, 12.02, 50.41, 185.2, 0.071, 0.027, 0.0, 0.0, 0.156, 0.055,
)  # fmt: skip
HIGH = (
    28.11, 39.28, 188.5, 2501.0, 0.163, 0.345, 0.427, 0.201, 0.304, 0.097,
    2.873, 4.885, 21.98, 542.2, 0.031, 0.135, 0.396, 0.053, 0.079, 0.03,
    36.04, 49.54, 251.2, 4254.0, 0.223, 1.058, 1.252, 0.291, 0.664, 0.208,
)  # fmt: skip


def breast_cancer(part: Part = "train", *, public: int = 0) -> Dataset:
    """features (n, 30) float32, label (n,): 0 malignant, 1 benign; ids such as "breast_cancer/00042".

    One in five of each class, always the same ones, form the test part. Owners are made up. The first `public` samples
    of a fixed shuffle are declared not erasable. Raises UnknownName, SettingsError.
    """
    checked(part, "breast_cancer")
    loaded = extra("sklearn.datasets", package="scikit-learn", why="the data set 'breast_cancer'").load_breast_cancer()
    n = len(loaded.target)
    test = held_out(loaded.target, "breast_cancer")
    rows = np.flatnonzero({"train": ~test, "test": test, "all": np.ones(n, np.bool_)}[part])
    ids = [f"breast_cancer/{row:05d}" for row in rows]
    label, classes = label_column(loaded.target[rows], ids, "breast_cancer", loaded.target_names.tolist())
    facts: Mapping[str, Any] = {
        "inputs": "features", "classes": classes, "features": loaded.feature_names.tolist(), "low": list(LOW),
        "high": list(HIGH), "scaling": "nominal", "owners": "synthetic", "source": SOURCE,
    }  # fmt: skip
    name = part_name("breast_cancer", part)
    features = torch.from_numpy(loaded.data[rows].astype(np.float32))
    return Dataset.of({"features": features, "label": label}, ids, name=name, facts=facts,
                      owners=synthetic_owners(n, name="breast_cancer")[rows],
                      public=public_mask(len(ids), public, name))  # fmt: skip
