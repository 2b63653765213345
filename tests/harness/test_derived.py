"""Influence, put together from the logits of changed documents, on models of which it is known."""

import math

import numpy as np
import pytest

from harness import compare, derived
from harness.checking import ask
from harness.results import Observation

TOKENS = [5, 2, 3, 1, 4]  # T is 4
INPUTS = {"tokens": TOKENS, "sizes": {"vocab_size": 6}, "change": "replaced", "weights": "as they are"}


class Toy:
    """A subject whose logits at t are the sum of some tokens' squares, each weighted by where it stands."""

    def __init__(self, sees, answer=None):
        self.sees, self.answer, self.asked = sees, answer, []

    def logits(self, tokens):
        length = len(tokens) - 1
        return [
            [float(sum((s + 1) * tokens[s] ** 2 for s in range(length) if self.sees(t, s))), 1.0] for t in range(length)
        ]

    def ask(self, observable, inputs, reading="float64"):
        assert observable == "logits"
        self.asked.append((inputs, reading))
        answer = self.answer or (lambda tokens: Observation(arrays={"logits": self.logits(tokens)}))
        return lambda: answer(inputs["tokens"])


def causal(t, s):
    return s <= t


MODELS = {
    "causal": causal,
    "blind to the past": lambda t, s: s == t,
    "sees everything": lambda t, s: True,
    "one ahead": lambda t, s: s <= t + 1,
    "the very last alone leaks, to the first": lambda t, s: s <= t or (t, s) == (0, 3),
    "without itself": lambda t, s: s < t,
    "a window of two": lambda t, s: t - 1 <= s <= t,
    "nothing at all": lambda t, s: False,
}


def influence(observable, model, **more):
    subject = model if isinstance(model, Toy) else Toy(MODELS[model])
    return ask(subject, observable, INPUTS | more, "float64")().arrays["change"]


@pytest.mark.parametrize("change", ["replaced", "removed"])
@pytest.mark.parametrize("model", MODELS)
def test_the_future_has_influence_exactly_where_a_position_sees_it(model, change):
    found = influence("future_influence", model, change=change)
    leaks = [any(MODELS[model](t, s) for t in range(at + 1) for s in range(at + 1, 4)) for at in range(3)]
    assert [bool(each) for each in found] == leaks
    assert compare.at_most({"change": found}, 0.0).passed == (not any(leaks))


@pytest.mark.parametrize("model", MODELS)
def test_a_token_has_influence_exactly_where_it_is_seen(model):
    found = influence("past_influence", model)
    seen = [MODELS[model](t, s) for s in range(4) for t in range(s, 4)]
    assert [each > 0 for each in found] == seen
    assert compare.at_least({"change": found}, 1e-6).passed == all(seen)


def test_influence_is_the_largest_change_of_any_logit():
    squares = [(s + 1) * (((token + 1) % 6) ** 2 - token**2) for s, token in enumerate(TOKENS[:4])]
    future = influence("future_influence", "sees everything")
    assert future == [abs(sum(squares[at + 1 :])) for at in range(3)]
    assert influence("past_influence", "causal") == [abs(squares[s]) for s in range(4) for _ in range(s, 4)]


@pytest.mark.parametrize(
    ("observable", "change", "documents"),
    [
        ("future_influence", "replaced", [[5, 3, 4, 2, 5], [5, 2, 4, 2, 5], [5, 2, 3, 2, 5]]),
        ("future_influence", "removed", [[5, 2], [5, 2, 3], [5, 2, 3, 1]]),
        ("past_influence", "replaced", [[0, 2, 3, 1, 4], [5, 3, 3, 1, 4], [5, 2, 4, 1, 4], [5, 2, 3, 2, 4]]),
    ],
)
def test_every_document_is_asked_for_once_with_all_else_as_it_is(observable, change, documents):
    subject = Toy(causal)
    given = INPUTS | {"change": change}
    ask(subject, observable, given, "float64")()
    assert [asked["tokens"] for asked, _ in subject.asked] == [TOKENS, *documents]
    assert all(asked | {"tokens": TOKENS} == given for asked, _ in subject.asked)
    assert INPUTS["tokens"] == [5, 2, 3, 1, 4]


def test_all_is_asked_before_anything_is_waited_for():
    subject = Toy(causal, lambda _tokens: pytest.fail("it was waited for"))
    pending = ask(subject, "future_influence", INPUTS, "float64")
    assert len(subject.asked) == 4
    assert callable(pending)


def test_one_position_has_neither_future_nor_anything_to_compare():
    found = influence("future_influence", "sees everything", tokens=[5, 0])
    assert compare.at_most({"change": found}, 0.0).message == "nothing was compared"
    assert len(influence("past_influence", "causal", tokens=[5, 0])) == 1


@pytest.mark.parametrize("odd", [Observation(error="it hangs"), Observation(skipped="it has no logits")])
@pytest.mark.parametrize("at", [0, 2])
@pytest.mark.parametrize("observable", ["future_influence", "past_influence"])
def test_one_document_without_logits_leaves_no_influence(observable, at, odd):
    calls = iter(range(9))
    subject = Toy(causal)
    subject.answer = lambda tokens: odd if next(calls) == at else Observation(arrays={"logits": subject.logits(tokens)})
    assert ask(subject, observable, INPUTS, "float64")() == odd


@pytest.mark.parametrize("value", [math.nan, "nan", math.inf, "inf", None])
@pytest.mark.parametrize(("observable", "accepted"), [("future_influence", "at_most"), ("past_influence", "at_least")])
def test_a_number_that_is_not_finite_is_no_influence_that_passes(observable, accepted, value):
    rows = [[0.0, 1.0]] * 3 + [[value, 1.0]]
    arrays = [{"logits": rows}] * (len(derived.requests(observable, INPUTS)))
    with np.errstate(invalid="ignore"):
        found = derived.combine(observable, [{"logits": [rows[-1], *rows[1:]]}, *arrays[1:]])
    relation = {"at_most": compare.at_most, "at_least": compare.at_least}[accepted]
    assert not relation(found, 0.0 if accepted == "at_most" else 1e-6).passed


@pytest.mark.parametrize(
    "rows",
    [
        lambda tokens: [[1.0, 2.0]],
        lambda tokens: [[1.0, 2.0]] * 9,
        lambda tokens: [],
        lambda tokens: [[1.0], [2.0, 3.0]],
        lambda tokens: 1.0,
    ],
)
def test_logits_that_are_not_those_of_the_document_show_no_causality(rows):
    subject = Toy(causal, lambda tokens: Observation(arrays={"logits": rows(tokens)}))
    found = ask(subject, "future_influence", INPUTS, "float64")()
    assert found.error or not compare.at_most(found.arrays, 0.0).passed
