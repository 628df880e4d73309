"""Settings through JSON and back."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from erasable._plumbing.settings import FAMILY, from_json, to_json
from erasable.errors import CorruptRun, SettingsError


@dataclass(frozen=True)
class Mean:
    weight: float = 1.0


@dataclass(frozen=True)
class Vote:
    weight: float = 2.0


@dataclass(frozen=True, kw_only=True)
class Method:
    steps: int = 1
    rate: float = 0.5
    name: str = "x"
    on: bool = False
    limit: float | None = None
    kind: Literal["a", "b"] = "a"
    shape: tuple[int, ...] = ()
    pair: tuple[str, float] = ("p", 1.0)
    nested: tuple[tuple[int, int], ...] = ()
    how: Mean | Vote = field(default_factory=Mean)
    many: Mapping[str, int] = field(default_factory=dict)
    needs: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise SettingsError("steps < 0", expected="steps", do="take some")


def through(method: Method) -> Method:
    return from_json(Method, json.loads(json.dumps(to_json(method))), "method")


@given(
    st.builds(
        Method,
        steps=st.integers(0, 9),
        rate=st.floats(allow_nan=False),
        limit=st.none() | st.floats(0, 1),
        kind=st.sampled_from(["a", "b"]),
        shape=st.lists(st.integers(), max_size=3).map(tuple),
        nested=st.lists(st.tuples(st.integers(), st.integers()), max_size=2).map(tuple),
        how=st.builds(Mean, st.floats(0, 1)) | st.builds(Vote, st.floats(0, 1)),
        many=st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    )
)
def test_settings_come_back_equal(method):
    again = through(method)
    assert again == method
    assert type(again.how) is type(method.how)
    assert isinstance(again.shape, tuple)


def test_defaults_fill_what_an_older_file_lacks():
    assert from_json(Method, {"steps": 3}, "method") == Method(steps=3)


@pytest.mark.parametrize(
    ("stored", "says"),
    [
        ([1], "method is list"),
        ({"stepz": 1}, "setting 'stepz'"),
        ({"steps": "1"}, "steps is '1'"),
        ({"steps": 1.5}, "steps is 1.5"),
        ({"kind": "c"}, "kind is 'c'"),
        ({"pair": ["p"]}, "pair has 1 values"),
        ({"limit": "x"}, "limit is 'x'"),
        ({"how": {"class": "Other", "weight": 1}}, "how is"),
        ({"nested": [[1, "x"]]}, "nested is 'x'"),
    ],
)
def test_settings_that_do_not_fit(stored, says):
    with pytest.raises(CorruptRun, match=says) as caught:
        from_json(Method, stored, "method")
    assert "\n" not in str(caught.value)


def test_the_class_still_checks_its_values():
    with pytest.raises(SettingsError):
        from_json(Method, {"steps": -1}, "method")


# --- a field for any class of a family -------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Wrapper:
    inner: Any = field(metadata={FAMILY: "erasable.unlearners"})
    share: float = 0.5


def test_a_class_of_the_family_is_found_by_its_place():
    from erasable.unlearners.finetune import FineTune

    for wrapper in (Wrapper(inner=FineTune(epochs=3)), Wrapper(inner=Wrapper(inner=Mean(2.0)), share=0.1)):
        stored = json.loads(json.dumps(to_json(wrapper)))
        assert from_json(Wrapper, stored, "way") == wrapper
    assert to_json(Wrapper(inner=FineTune()))["inner"]["class"] == "erasable.unlearners.finetune:FineTune"


@pytest.mark.parametrize("place", [
    "erasable.unlearners.nobody:Nobody", "erasable.unlearners.finetune:Nobody", "erasable.unlearners.finetune:fit",
    "antigravity:Nobody", "erasable.unlearners..finetune:FineTune", "os:system", "FineTune", None, 3,
])  # fmt: skip
def test_nothing_else_is_imported_or_called(place):
    with pytest.raises(CorruptRun, match="inner is of the class") as caught:
        from_json(Wrapper, {"inner": {"class": place}}, "way")
    assert "\n" not in str(caught.value)
    assert "antigravity" not in sys.modules
    with pytest.raises(CorruptRun, match="inner"):
        from_json(Wrapper, {"inner": "finetune"}, "way")
