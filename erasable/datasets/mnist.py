"""MNIST: 70,000 grey pictures of handwritten digits, 28 x 28.

Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-based learning applied to document recognition. Proceedings of the
IEEE 86(11), 1998. The four published `.gz` files are read as they are.
"""

from pathlib import Path

from erasable.dataset import Dataset
from erasable.datasets._idx import idx_set
from erasable.datasets._part import Part

HOME = "http://yann.lecun.com/exdb/mnist/"
SOURCE = f"MNIST (LeCun, Bottou, Bengio, Haffner 1998), {HOME}; the source states no licence."


def mnist(part: Part = "train", *, data_dir: str | Path | None = None, public: int = 0) -> Dataset:
    """image (n, 1, 28, 28) bytes, label (n,); 60,000 to train and 10,000 to test; ids such as "mnist/train/00042".

    The files lie in `data_dir`, else in the folder $ERASABLE_DATA: there, or in its folder `mnist`. Owners are made up.
    The first `public` samples of a fixed shuffle are declared not erasable.

    Raises MissingFile, InvalidData, UnknownName, SettingsError.
    """
    return idx_set("mnist", part, data_dir, public, classes=[str(digit) for digit in range(10)], home=HOME,
                   source=SOURCE)  # fmt: skip
