"""Data sets: one published set or source format per file, each a function that returns a `Dataset`.

    digits  breast_cancer                      come with scikit-learn
    mnist  fashion_mnist  cifar10              published files, in `data_dir` or the folder $ERASABLE_DATA
    text                                       a text file, cut into chunks
    image_folder  npz  npy_folder  table       the user's own files
    huggingface                                an object of the `datasets` library
    synthetic_owners                           made-up owners, for sets that do not tell whose the samples are
    coloured                                   a grey data set in colours that nearly tell the class: a short cut

The facts of every set: `inputs` (the input column), `classes` (names, where there are labels), `low` and `high` (the
range of the inputs), `scaling` ("nominal", or "fitted" where that range was taken from the samples), `owners` ("given",
"synthetic" or "none") and `source`.
"""

from erasable.datasets.breast_cancer import breast_cancer
from erasable.datasets.cifar10 import cifar10
from erasable.datasets.coloured import coloured
from erasable.datasets.digits import digits
from erasable.datasets.fashion_mnist import fashion_mnist
from erasable.datasets.huggingface import huggingface
from erasable.datasets.image_folder import image_folder
from erasable.datasets.mnist import mnist
from erasable.datasets.npy_folder import npy_folder
from erasable.datasets.npz import npz
from erasable.datasets.owners import synthetic_owners
from erasable.datasets.table import table
from erasable.datasets.text import text

__all__ = [
    "breast_cancer",
    "cifar10",
    "coloured",
    "digits",
    "fashion_mnist",
    "huggingface",
    "image_folder",
    "mnist",
    "npy_folder",
    "npz",
    "synthetic_owners",
    "table",
    "text",
]
