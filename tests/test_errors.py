"""Errors: one line, three parts, one tree."""

import copy
import re

import pytest

from erasable import errors
from erasable.errors import ErasableError, InvalidData, UnknownSample, nearest_names

KINDS = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, ErasableError)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_is_one_line_with_what_came_what_was_expected_and_what_to_do(kind):
    error = kind("a label\nof  7", expected="0 to\t6", do="correct\r\nit")
    assert str(error) == "a label of 7; expected 0 to 6; correct it"
    assert (error.came, error.expected, error.do) == ("a label of 7", "0 to 6", "correct it")
    twin = copy.copy(error)  # which is also how worker processes pass errors on
    assert type(twin) is kind
    assert (str(twin), twin.do) == (str(error), error.do)


def test_the_parts_are_not_optional():
    with pytest.raises(TypeError):
        InvalidData("something came")


def test_the_docstring_draws_the_tree():
    drawn = {}
    for line in errors.__doc__.splitlines():
        if re.match(r" {6}\w+Error +\w", line):
            branch, *leaves = line.split()
            drawn[branch] = set(leaves)
    real = {each.__name__: {leaf.__name__ for leaf in each.__subclasses__()} for each in ErasableError.__subclasses__()}
    assert drawn == real
    assert all(
        not leaf.__subclasses__() for branch in ErasableError.__subclasses__() for leaf in branch.__subclasses__()
    )


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_says_what_it_means(kind):
    assert kind.__doc__.endswith(".")


def test_errors_are_caught_by_their_branch():
    with pytest.raises(errors.RequestError):
        raise UnknownSample("x", expected="y", do="z")


def test_nearest_names():
    assert nearest_names("convnt", ["mlp", "convnet", "convent"]) == "did you mean 'convnet', 'convent'?"
    assert nearest_names("zzz", ["a", "b", "c", "d"]) == "some that exist: 'a', 'b', 'c'"
    assert nearest_names("zzz", []) == "some that exist: (none)"
    assert nearest_names("aaa1", (f"aaa{i}" for i in range(9)), shown=1) == "did you mean 'aaa1'?"
