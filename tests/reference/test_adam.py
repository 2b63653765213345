import itertools
import math
import random

import mpmath
import pytest
import sympy
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from microgpt import microgpt
from reference import adam, papers
from reference.recipe import MICROGPT

torch.set_num_threads(1)  # threads that wait for each other cost more than these tensors do

U = 2**-53
STEPS = 6


def tensor(x):
    return torch.tensor(x, dtype=torch.float64)


def probe(seed=0, n=40):
    """Parameters [n], gradients [k, n] from 1e-9 to 10 with some exact zeros, rates, and moments to start from."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    gradients = normal(STEPS, n) * 10 ** (normal(1, n) * 3).clamp(-9, 1)
    gradients[2, ::5] = 0.0
    gradients[:, 7] = 0.0
    m = normal(n) * 0.1
    return normal(n), gradients, [0.01 * (1 - i / STEPS) for i in range(STEPS)], m, (m * m + normal(n) ** 2 * 1e-3)


def assert_close(got, wanted, bound=2**8 * U):
    assert got.keys() == wanted.keys() == {"parameters", "m", "v"}
    for name, expected in wanted.items():
        assert got[name].shape == expected.shape
        assert got[name].dtype == torch.float64
        assert torch.isfinite(expected).all()
        assert expected.abs().max() > 0
        assert (got[name] - expected).abs().max() <= bound * expected.abs().max(), name


@pytest.mark.parametrize("start", [0, 1, 500])
@pytest.mark.parametrize("decay", [("decoupled", 0.0), ("decoupled", 0.1), ("l2", 0.1)])
@pytest.mark.parametrize("optimizer", ["adam", "amsgrad"])
def test_torch_agrees_with_the_written_form(optimizer, decay, start):
    recipe = MICROGPT.edited({"optimizer": optimizer, "weight_decay_kind": decay[0], "weight_decay": decay[1]})
    parameters, gradients, rates, m, v = probe()
    moments = (m, v) if start else (None, None)
    got = adam.trajectory(recipe, parameters, gradients, rates, *moments, start)
    assert_close(got, adam.written_out(recipe, parameters, gradients, rates, *moments, start))


@pytest.mark.parametrize(
    ("edits", "runs"),
    [
        ({}, "Adam"),
        ({"weight_decay": 0.1}, "AdamW"),
        ({"weight_decay": 0.1, "weight_decay_kind": "l2"}, "Adam"),
        ({"optimizer": "amsgrad"}, "Adam"),
        ({"optimizer": "nadam"}, None),
        ({"second_moment_root": False}, None),
    ],
)
def test_the_standard_recipes_are_run_by_torch_and_the_others_are_not(edits, runs):
    seen = []
    hook = register_optimizer_step_post_hook(lambda by, *_: seen.append(type(by).__name__))
    try:
        adam.trajectory(MICROGPT.edited(edits), *probe()[:3])
    finally:
        hook.remove()
    assert seen == ([runs] * STEPS if runs else [])


@pytest.mark.parametrize("first_step", [0, 9])
def test_against_algorithm_1_and_microgpt(first_step):
    parameters, gradients, rates, m, v = probe(3)
    got = adam.trajectory(MICROGPT, parameters, gradients, rates, m, v, first_step)
    ours = [microgpt.Value(p) for p in parameters.tolist()]
    ours_m, ours_v, wanted = m.tolist(), v.tolist(), []
    state = list(zip(parameters.tolist(), m.tolist(), v.tolist(), strict=True))
    for i, (row, rate) in enumerate(zip(gradients.tolist(), rates, strict=True)):
        t = first_step + i + 1
        state = [papers.adam_step(*s, g, t, rate, 0.85, 0.99, 1e-8, math) for s, g in zip(state, row, strict=True)]
        wanted.append(list(zip(*state, strict=True)))
        for p, g in zip(ours, row, strict=True):
            p.grad = g
        microgpt.adam_update(ours, ours_m, ours_v, t - 1, rate)
        assert_close(
            {name: x[i : i + 1] for name, x in got.items()},
            {"parameters": tensor([[p.data for p in ours]]), "m": tensor([ours_m]), "v": tensor([ours_v])},
        )
    columns = zip(*wanted, strict=True)
    assert_close(got, {n: tensor(c) for n, c in zip(("parameters", "m", "v"), columns, strict=True)})


def test_forty_digits_and_exact_numbers():
    given = {"theta": "0.3", "m": "0", "v": "0", "alpha": "0.01", "b1": "0.85", "b2": "0.99", "eps": "1e-8"}
    gradients = ["0.25", "-1.5e-7", "0", "3"]
    with mpmath.workdps(50):
        states = {}
        for num, kind in ((mpmath, mpmath.mpf), (sympy, sympy.Rational)):
            x = {name: kind(text) for name, text in given.items()}
            state = (x["theta"], x["m"], x["v"])
            for t, g in enumerate(gradients, start=1):
                state = papers.adam_step(*state, kind(g), t, x["alpha"], x["b1"], x["b2"], x["eps"], num)
            states[num] = state
        assert not any(x.atoms(sympy.Float) for x in states[sympy])
        for digits, exact in zip(states[mpmath], states[sympy], strict=True):
            assert abs(digits / mpmath.mpf(sympy.N(exact, 60)) - 1) < mpmath.mpf(10) ** -40
    got = adam.trajectory(MICROGPT, tensor([0.3]), tensor([[float(g)] for g in gradients]), [0.01] * 4)
    wanted = {name: tensor([[float(x)]]) for name, x in zip(("parameters", "m", "v"), states[mpmath], strict=True)}
    assert_close({name: x[-1:] for name, x in got.items()}, wanted, 2**4 * U)


@pytest.mark.parametrize(
    ("edits", "size"),
    [
        ({}, 1.0),
        ({"bias_correction": "none"}, 1.5),
        ({"bias_correction": "first"}, 10.0),
        ({"bias_correction": "second"}, 0.15),
        ({"bias_correction": "swapped"}, 0.15 / 0.01 / (0.01 / 0.15) ** 0.5),
        ({"bias_correction": "frozen"}, 1.0),
        ({"bias_correction": "late"}, 0.15 / (1 - 0.85**2) / (0.01 / (1 - 0.99**2)) ** 0.5),
        ({"optimizer": "nadam"}, 1.85),
        ({"optimizer": "amsgrad"}, 1.0),
        ({"optimizer": "sgd"}, 4.0),
        ({"second_moment": "absolute"}, 4 / 4**0.5),
        ({"second_moment": "centred"}, 1 / 0.85),
        ({"second_moment_root": False}, 1 / 4),
        ({"eps_adam_place": "under root", "eps_adam": 1.0}, 4 / 17**0.5),
        ({"eps_adam_place": "beside root", "eps_adam": 1.0}, 4 / 5),
        ({"eps_adam_place": "epsilon hat", "eps_adam": 1.0}, 0.1 * 4 / (0.1 * 4 + 1)),
        ({"weight_decay": 0.5}, 1 + 0.5 * 8),
        ({"weight_decay": 0.5, "weight_decay_kind": "l2"}, 1.0),
        ({"weight_decay": 0.5, "weight_decay_kind": "l2", "optimizer": "sgd"}, 8.0),
    ],
)
def test_the_size_of_the_first_step(edits, size):
    got = adam.trajectory(MICROGPT.edited(edits), tensor([8.0]), tensor([[4.0]]), [0.25])
    assert (8 - got["parameters"].item()) / 0.25 == pytest.approx(size, rel=1e-7)


def scalar(recipe, theta, m, v, largest, g, t, rate):
    """One step of any recipe for one parameter, from plain floats: a second transcription of every variant."""
    b1, b2, eps = recipe.beta1, recipe.beta2, recipe.eps_adam
    if recipe.weight_decay_kind == "l2":
        g += recipe.weight_decay * theta
    else:
        theta -= rate * recipe.weight_decay * theta
    if recipe.optimizer == "sgd":
        return theta - rate * g, m, v, largest
    m = m * b1 + g * (1 - b1)
    v = v * b2 + {"square": g * g, "absolute": abs(g), "centred": (g - m) * (g - m)}[recipe.second_moment] * (1 - b2)
    largest = max(largest, v)
    c = {
        "both": (1 - b1**t, 1 - b2**t),
        "none": (1, 1),
        "first": (1 - b1**t, 1),
        "second": (1, 1 - b2**t),
        "swapped": (1 - b2**t, 1 - b1**t),
        "frozen": (1 - b1, 1 - b2),
        "late": (1 - b1 ** (t + 1), 1 - b2 ** (t + 1)),
    }[recipe.bias_correction]
    top = (b1 * m + (1 - b1) * g if recipe.optimizer == "nadam" else m) / c[0]
    used = largest if recipe.optimizer == "amsgrad" else v
    power = 0.5 if recipe.second_moment_root else 1
    bottom = {
        "beside root": (used / c[1]) ** power + eps,
        "under root": (used / c[1] + eps) ** power,
        "epsilon hat": (used**power + eps) / c[1] ** power,
    }[recipe.eps_adam_place]
    return theta - rate * top / bottom, m, v, largest


FIELDS = {
    "optimizer": ["adam", "amsgrad", "nadam", "sgd"],
    "bias_correction": ["both", "none", "first", "second", "swapped", "frozen", "late"],
    "eps_adam_place": ["beside root", "under root", "epsilon hat"],
    "second_moment": ["square", "absolute", "centred"],
    "second_moment_root": [True, False],
    "weight_decay_kind": ["decoupled", "l2"],
}


@pytest.mark.parametrize("bias_correction", FIELDS["bias_correction"])
def test_every_combination_of_variants(bias_correction):
    parameters, gradients, rates, m, v = (x[..., :4] if torch.is_tensor(x) else x[:3] for x in probe(5))
    gradients = tensor([[1.0, -1e-4, 0.0, 30.0], [-0.5, 1e-4, 0.2, 1.0], [0.25, 0.0, 0.0, -2.0]])
    others = [name for name in FIELDS if name != "bias_correction"]
    for values in itertools.product(*(FIELDS[name] for name in others)):
        edits = dict(zip(others, values, strict=True))
        edits |= {"bias_correction": bias_correction, "weight_decay": 0.1, "eps_adam": 1e-5}
        recipe = MICROGPT.edited(edits)
        got = adam.trajectory(recipe, parameters, gradients, rates, m, v, 2)
        states = [(p, a, b, b) for p, a, b in zip(parameters.tolist(), m.tolist(), v.tolist(), strict=True)]
        for i, row in enumerate(gradients.tolist()):
            states = [scalar(recipe, *s, g, i + 3, rates[i]) for s, g in zip(states, row, strict=True)]
            columns = [tensor([c]) for c in zip(*states, strict=True)]
            wanted = dict(zip(("parameters", "m", "v"), columns, strict=False))
            assert_close({name: x[i : i + 1] for name, x in got.items()}, wanted, 2**10 * U)


@pytest.mark.parametrize("edits", [{}, {"weight_decay": 0.1}, {"bias_correction": "late"}, {"optimizer": "nadam"}])
def test_a_trajectory_can_be_resumed(edits):
    recipe = MICROGPT.edited(edits)
    parameters, gradients, rates, _, _ = probe(1)
    whole = adam.trajectory(recipe, parameters, gradients, rates)
    first = adam.trajectory(recipe, parameters, gradients[:2], rates[:2])
    last = {name: x[-1] for name, x in first.items()}
    rest = adam.trajectory(recipe, last["parameters"], gradients[2:], rates[2:], last["m"], last["v"], 2)
    for name, x in whole.items():
        assert torch.equal(x, torch.cat([first[name], rest[name]]))


@pytest.mark.parametrize("edits", [{}, {"bias_correction": "none"}])
def test_what_is_given_is_left_alone_and_no_gradient_is_no_step_at_first(edits):
    given = probe(2)
    copies = [x.clone() if torch.is_tensor(x) else list(x) for x in given]
    got = adam.trajectory(MICROGPT.edited(edits), *given)
    assert all(torch.equal(x, y) if torch.is_tensor(x) else x == y for x, y in zip(given, copies, strict=True))
    assert len({tuple(row.tolist()) for row in got["parameters"]}) == STEPS
    fresh = adam.trajectory(MICROGPT.edited(edits), *given[:3])
    assert (fresh["parameters"][:, 7] == given[0][7]).all()
    assert (got["parameters"][1:, 7] != given[0][7]).all()


def test_no_step_is_an_empty_trajectory():
    for edits in ({}, {"optimizer": "sgd"}):
        got = adam.trajectory(MICROGPT.edited(edits), tensor([1.0]), torch.empty(0, 1, dtype=torch.float64), [])
        assert {name: tuple(x.shape) for name, x in got.items()} == dict.fromkeys(("parameters", "m", "v"), (0, 1))


X, G = tensor([1.0, 2.0]), tensor([[1.0, 2.0]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((X, G[0], [0.1]), "gradients have shape"),
        ((X, G, [0.1, 0.1]), "gradients have shape"),
        ((X[:1], G, [0.1]), "gradients have shape"),
        ((X[None], G, [0.1]), "parameters have shape"),
        ((X, G, [0.1], X[:1]), "m have shape"),
        ((X, G, [0.1], None, G), "v have shape"),
        ((X.float(), G, [0.1]), "parameters are torch.float32"),
        ((X, G.float(), [0.1]), "gradients are torch.float32"),
        ((X, G, [0.1], None, X.float()), "v are torch.float32"),
        ((X, G, [0.1], None, None, -1), "first_step is -1"),
    ],
)
@pytest.mark.parametrize("function", [adam.trajectory, adam.written_out])
def test_what_does_not_fit_is_refused(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(MICROGPT, *arguments)


def test_schedules():
    for step in (0, 1, 500, 999):
        assert adam.learning_rate_at(MICROGPT, step) == microgpt.learning_rate_at(step, 1000)
    assert adam.learning_rate_at(MICROGPT, 999) == pytest.approx(1e-5)
    cosine = MICROGPT.edited({"schedule": "cosine", "num_steps": 6})
    assert [adam.learning_rate_at(cosine, s) for s in (0, 2, 3)] == pytest.approx([0.01, 0.0075, 0.005])
    constant = MICROGPT.edited({"schedule": "constant", "num_steps": 2, "learning_rate": 0.3})
    assert [adam.learning_rate_at(constant, s) for s in (0, 1)] == [0.3, 0.3]
    for step in (-1, 2):
        with pytest.raises(ValueError, match="not in the schedule"):
            adam.learning_rate_at(constant, step)


def test_two_hundred_steps_stay_together():
    rng = random.Random(0)
    gradients = tensor([[rng.gauss(0, 1) * 10 ** rng.uniform(-4, 0) for _ in range(20)] for _ in range(200)])
    rates = [adam.learning_rate_at(MICROGPT, step) for step in range(0, 1000, 5)]
    arguments = (torch.zeros(20, dtype=torch.float64), gradients, rates)
    assert_close(adam.trajectory(MICROGPT, *arguments), adam.written_out(MICROGPT, *arguments), 2**12 * U)
