"""Where a data set comes from, as JSON: what a run folder keeps, so that the data can be loaded again.

    Source.of("digits", public=400)
    Source.of("npz:faces.npz", columns={"image": "x", "label": "y"})
    source.train(), source.test(), source.spec()

Published sets have their own test part. Of the user's own data one sample in five, chosen by a hash of its id, is kept
for tests, unless other columns (`test_columns`) hold test data. Which samples are public is chosen by hashes too, owner
by owner. So deleting somebody's rows from a file moves nobody else, as long as the ids are columns of the file.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from erasable import catalog
from erasable._plumbing.seeds import child
from erasable.dataset import Dataset, Rows
from erasable.errors import CorruptRun, SettingsError, UnknownName, nearest_names

PUBLISHED = ("digits", "breast-cancer", "mnist", "fashion-mnist", "cifar10")
BUNDLED = ("digits", "breast-cancer")  # need no files
OWN = {"npz": "npz", "npy": "npy-folder", "folder": "image-folder", "table": "table"}  # prefix -> catalog name
OPTIONS: Mapping[str, tuple[str, ...]] = {
    "mnist": ("data_dir",),
    "fashion-mnist": ("data_dir",),
    "cifar10": ("data_dir",),
    "npz": ("path", "columns", "test_columns", "ids", "owners", "low", "high"),
    "npy-folder": ("path", "columns", "test_columns", "ids", "owners", "low", "high"),
    "image-folder": ("path", "size", "owner_from"),
    "table": ("path", "id", "label", "owner", "features", "low", "high"),
}
TEST_SHARE = 0.2


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set by its name in the catalog and the options that load it.

    public           declare samples not erasable: whole owners, in hashed order, while they fit into this number
    public_without   labels that no public sample has
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    public: int = 0
    public_without: tuple[int, ...] = ()

    @classmethod
    def of(cls, where: str, *, public: int = 0, public_without: Sequence[int] = (), **options: Any) -> "Source":
        """`where` is the name of a published set, or npz:FILE, npy:FOLDER, folder:FOLDER, table:FILE.

        `options` are those of the function in `erasable.datasets`; None stands for not given. Paths become absolute.
        Raises UnknownName, SettingsError.
        """
        prefix, colon, path = where.partition(":")
        given = {key: each for key, each in options.items() if each is not None and each != {}}
        if colon and prefix in OWN and path:
            name, given["path"] = OWN[prefix], path
        elif where in PUBLISHED:
            name = where
        else:
            known = [*PUBLISHED, *(f"{each}:PATH" for each in OWN)]
            raise UnknownName(f"data '{where}'", expected=f"one of {', '.join(known)}", do=nearest_names(where, known))
        for key in ("path", "data_dir"):
            if key in given:
                given[key] = str(Path(given[key]).expanduser().absolute())
        source = cls(name=name, options=given, public=public, public_without=tuple(public_without))
        source._check()
        return source

    def _check(self) -> None:
        known = OPTIONS.get(self.name, ())
        if wrong := [each for each in self.options if each not in known]:
            raise SettingsError(f"the option '{wrong[0]}' for data '{self.name}'",
                                expected=f"one of {', '.join(known)}" if known else "none",
                                do=nearest_names(wrong[0], known))  # fmt: skip
        if self.name in ("npz", "npy-folder") and not {"label"} < set(self.options.get("columns") or ()):
            raise SettingsError(f"the columns {self.options.get('columns') or 'of nothing'} for data '{self.name}'",
                                expected="inputs and a label",
                                do="name both, as in image=x_train and label=y_train")  # fmt: skip
        if self.name == "table" and not {"id", "label"} <= set(self.options):
            raise SettingsError("a table without the names of its id and label columns", expected="both",
                                do="name them: only with ids of its own can a sample be asked for")  # fmt: skip
        if self.public < 0:
            raise SettingsError(f"{self.public} public samples", expected="0 or more", do="correct the number")

    # --- as JSON -----------------------------------------------------------------------------------------------------

    def spec(self) -> dict[str, Any]:
        """What `from_spec` reads."""
        return {"name": self.name, "options": dict(self.options), "public": self.public,
                "public_without": list(self.public_without)}  # fmt: skip

    @classmethod
    def from_spec(cls, spec: Any) -> "Source":
        """Raises CorruptRun for anything that `spec` did not write."""
        try:
            found = cls(name=spec["name"], options=dict(spec["options"]), public=int(spec["public"]),
                        public_without=tuple(int(each) for each in spec["public_without"]))  # fmt: skip
            known = found.name in (*PUBLISHED, *OWN.values())
            found._check()
        except (TypeError, KeyError, ValueError, SettingsError):
            known = False
        if not known:
            raise CorruptRun("the run does not say how to load its data", expected="a data set of the catalog with its "
                             "options", do="pass the data in Python instead, with Run.open(...)")  # fmt: skip
        return found

    def at(self, place: str | Path) -> "Source":
        """The same data in another place: the file, or the folder of files. Raises SettingsError for bundled data."""
        if self.name in BUNDLED:
            raise SettingsError(f"a place for data '{self.name}'", expected="none: it comes with scikit-learn",
                                do="leave it out")  # fmt: skip
        key = "data_dir" if self.name in PUBLISHED else "path"
        moved = {**self.options, key: str(Path(place).expanduser().absolute())}
        return Source(name=self.name, options=moved, public=self.public, public_without=self.public_without)

    # --- loading -----------------------------------------------------------------------------------------------------

    def train(self) -> Dataset:
        """The Dataset to train on. Raises what the functions of `erasable.datasets` raise."""
        if self.name in PUBLISHED or "test_columns" in self.options:
            data = self._load("train")
        else:
            whole = self._load("train")
            data = whole.take(_kept(whole.ids, for_tests=False))
        return self._declared(data)

    def test(self) -> Dataset:
        """The Dataset to test on: nobody in it is trained on."""
        if self.name in PUBLISHED or "test_columns" in self.options:
            return self._load("test")
        whole = self._load("train")
        return whole.take(_kept(whole.ids, for_tests=True))

    def whole(self) -> Dataset | None:
        """All samples, whoever trained on them; None where `test_columns` keep the test data apart."""
        if "test_columns" in self.options:
            return None
        return self._load("all" if self.name in PUBLISHED else "train")

    def _load(self, part: str) -> Dataset:
        load: Callable[..., Dataset] = catalog.DATASETS[self.name]
        if self.name in PUBLISHED:
            return load(part, **self.options)
        options = {key: each for key, each in self.options.items() if key != "test_columns"}
        if part == "test":
            options["columns"] = self.options["test_columns"]
            options.pop("ids", None)
            options.pop("owners", None)
        if isinstance(options.get("size"), list):
            options["size"] = tuple(options["size"])
        return load(options.pop("path"), **options)

    def _declared(self, data: Dataset) -> Dataset:
        """The data with their public part."""
        if not self.public:
            return data
        labels = data.read("label").tolist() if self.public_without else [0] * len(data)
        barred = set(self.public_without)
        groups: dict[str, list[str]] = {}
        for each, owner, label in zip(data.ids, data.owners or data.ids, labels, strict=True):
            if label not in barred:
                groups.setdefault(owner, []).append(each)
        chosen: list[str] = []
        for owner in sorted(groups, key=lambda name: child(0, "public", name)):
            if len(chosen) + len(groups[owner]) <= self.public:
                chosen += groups[owner]
        if not chosen or len(chosen) >= len(data):
            raise SettingsError(f"{self.public} public samples of {len(data)}", expected="some, and some that are not",
                                do="choose another number")  # fmt: skip
        return data.declare_public(chosen)


def _kept(ids: Sequence[str], *, for_tests: bool) -> Rows:
    """Positions of the samples that are kept for tests, or of the others."""
    held = np.array([child(0, "test", each) < TEST_SHARE * 2**63 for each in ids], np.bool_)
    if held.all() or not held.any():
        raise SettingsError(f"{len(ids)} samples, too few to keep some for tests", expected="some dozens at least",
                            do="give more data, or columns with test data")  # fmt: skip
    return np.flatnonzero(held if for_tests else ~held)
