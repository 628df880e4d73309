"""Fashion-MNIST: 70,000 grey pictures of clothes, 28 x 28, in the format of MNIST.

H. Xiao, K. Rasul, R. Vollgraf: Fashion-MNIST: a novel image dataset for benchmarking machine learning algorithms.
arXiv:1708.07747, 2017. The four published `.gz` files are read as they are.
"""

from pathlib import Path

from erasable.dataset import Dataset
from erasable.datasets._idx import idx_set
from erasable.datasets._part import Part

HOME = "https://github.com/zalandoresearch/fashion-mnist"
SOURCE = f"Fashion-MNIST (Xiao, Rasul, Vollgraf 2017), {HOME}; MIT licence, copyright 2017 Zalando SE."
CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


def fashion_mnist(part: Part = "train", *, data_dir: str | Path | None = None, public: int = 0) -> Dataset:
    """image (n, 1, 28, 28) bytes, label (n,); 60,000 to train, 10,000 to test; ids such as "fashion_mnist/train/00042".

    The files lie in `data_dir`, else in the folder $ERASABLE_DATA: there, or in its folder `fashion_mnist`. Owners are
    made up. The first `public` samples of a fixed shuffle are declared not erasable.

    Raises MissingFile, InvalidData, UnknownName, SettingsError.
    """
    return idx_set("fashion_mnist", part, data_dir, public, classes=CLASSES, home=HOME, source=SOURCE)
