"""Arrays of the user's own in one `.npz` file, mapped from disk where it was saved without compression."""

from collections.abc import Mapping
from pathlib import Path

from erasable.dataset import Dataset
from erasable.datasets._files import own_file
from erasable.datasets._npy import read_npz
from erasable.datasets._own import Names, own_dataset
from erasable.datasets._range import Bound


def npz(
    path: str | Path,
    *,
    columns: Mapping[str, str],
    ids: str | Names | None = None,
    owners: str | Names | None = None,
    low: Bound = None,
    high: Bound = None,
    mmap: bool = True,
) -> Dataset:
    """A data set of the arrays that `columns` names, such as {"image": "train_images", "label": "train_labels"}.

    ids, owners   the name of an array of text or integers, or the names themselves; ids default to "<file>/00042"
    low, high     the nominal range of the inputs; without them bytes get 0 and 255, other types their own extremes
    mmap          map uncompressed arrays instead of loading them (`numpy.savez`, not `savez_compressed`)

    `image` is presented as (n, channels, height, width), `label` as int64. Raises MissingFile, InvalidData: an array
    that is not there, holds Python objects, is cut off or has another length.
    """
    file = own_file(path)
    names = [each for each in (*columns.values(), ids, owners) if isinstance(each, str)]
    arrays = read_npz(file, dict.fromkeys(names), mmap=mmap)
    called = arrays[ids] if isinstance(ids, str) else ids
    who = arrays[owners] if isinstance(owners, str) else owners
    chosen = {key: arrays[name] for key, name in columns.items()}
    return own_dataset(file.stem, chosen, ids=called, owners=who, low=low, high=high, source=f"The file '{file.name}'.")
