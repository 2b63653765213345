"""The right side of a relation, and what is made of an array that nobody has."""

from dataclasses import dataclass

import pytest

from harness import checking
from harness.claims import Check
from harness.results import Observation

Y, Z = {"y": [1.0, 2.0]}, {"z": [1.0, 2.0]}


@dataclass
class Answers:
    """Someone who gives the same answer to whatever is asked."""

    arrays: dict

    def ask(self, observable, inputs, reading="float64"):
        return lambda: Observation(arrays=self.arrays)


@dataclass
class Cast:
    """A subject, and a reference."""

    observed: dict
    expected: dict

    def subject(self, of):
        return Answers(self.observed)

    def torch(self, edits, attention, *, like, own):
        return Answers(self.expected)


def result(observed, expected, **relation):
    check = Check.model_validate({"id": "one", "observe": "gradients", "of": "microgpt", "at": "y", **relation})
    cast = Cast(observed, expected)
    return checking.finish(checking.start(check, cast, 0), cast, 0, "")


LITERAL = {"equals": {"value": [1.0, 2.0]}}
LIMIT = {"at_most": 2.0, "because": "x"}
ITSELF = {"equals": {"itself": {"given": {"attention": "mask"}}}}
DIFFERS = {"differs": "torch", "by": {"at_least": 1.0, "because": "x"}}


@pytest.mark.parametrize(
    ("observed", "expected", "relation"),
    [
        (Z, Z, {"equals": "torch"}),
        (Y, Z, {"equals": "torch"}),
        (Z, Z, DIFFERS),
        (Z, {}, LITERAL),
        (Z, {}, LIMIT),
        (Z, {}, ITSELF),
    ],
)
def test_an_array_that_the_expected_side_does_not_have_is_an_error_of_the_check(observed, expected, relation):
    found = result(observed, expected, **relation)
    assert found.outcome == "error"
    assert found.message.endswith("there is no array 'y': there are z")
    assert found.compared == 0


def test_where_there_is_no_array_at_all_it_says_so():
    assert result({}, {}, equals="torch").message.endswith("there is no array 'y': there are none")


def test_an_array_that_the_subject_alone_does_not_have_is_its_failure():
    found = result(Z, Y, equals="torch")
    assert found.outcome == "fail"
    assert "differ in name: y" in found.message


@pytest.mark.parametrize(
    ("expected", "relation"), [(Y | Z, {"equals": "torch"}), ({}, LITERAL), ({}, LIMIT), ({}, ITSELF)]
)
def test_the_named_array_alone_is_related(expected, relation):
    found = result(Y, expected, **relation)
    assert found.outcome == "pass"
    assert found.compared == 2


def test_where_no_array_is_named_all_are_related():
    assert result(Y | Z, Y | Z, equals="torch", at=None).compared == 4
    assert result(Y | Z, Y, equals="torch", at=None).outcome == "fail"
