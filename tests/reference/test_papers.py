import math
import subprocess
import sys

import mpmath
import pytest
import sympy

from reference import papers

A = [-1.25, 0.5, 2.0, 0.0]
MATRICES = [[[math.sin(s + 3 * i + j) for j in range(4)] for i in range(5)] for s in (0, 20, 40)]


def number(x, num):
    """A float as a number of `num`'s kind, without loss."""
    return {math: float, mpmath: mpmath.mpf, sympy: sympy.Rational}[num](x)


def numbers(x, num):
    return [numbers(row, num) for row in x] if isinstance(x, list) else number(x, num)


def small_decoder(num):
    """Weights of a decoder with C 4, H 2, L 2, V 5, B 3, and what else `decoder_logits` takes."""
    shapes = {"wte": (5, 4), "wpe": (3, 4), "lm_head": (5, 4)}
    for layer in range(2):
        shapes |= {f"layer{layer}.attn_w{which}": (4, 4) for which in "qkvo"}
        shapes |= {f"layer{layer}.mlp_fc1": (16, 4), f"layer{layer}.mlp_fc2": (4, 16)}
    weights, seed = {}, 0
    for name, (rows, columns) in shapes.items():
        seed += 100
        weights[name] = numbers([[math.sin(seed + 7 * i + j * j) for j in range(columns)] for i in range(rows)], num)
    return weights, {"n_head": 2, "n_layer": 2}


CALLS = {
    "rms": lambda num: papers.rms(numbers(A, num), num, papers.ratio(1, 100000, num)),
    "rms_norm": lambda num: papers.rms_norm(numbers(A, num), numbers([1.0, 2.0, -0.5, 3.0], num), num),
    "layer_norm": lambda num: papers.layer_norm(numbers(A, num), num),
    "softmax": lambda num: papers.softmax(numbers(A, num), num),
    "attention": lambda num: papers.causal_self_attention(*numbers(MATRICES, num), 2, num),
    "gelu": lambda num: [papers.gelu(x, num) for x in numbers(A, num)],
    "gelu_tanh": lambda num: [papers.gelu_tanh(x, num) for x in numbers(A, num)],
    "relu": lambda num: [papers.relu(x) for x in numbers(A, num)],
    "cross_entropy": lambda num: papers.cross_entropy(numbers(A, num), 2, num),
    "adam_step": lambda num: papers.adam_step(
        *numbers([0.5, 0.01, 0.002, -0.25], num), 3, *numbers([0.01, 0.85, 0.99, 1e-8], num), num
    ),
    "decoder": lambda num: papers.decoder_logits(
        small_decoder(num)[0], [4, 0, 4], small_decoder(num)[1], num, papers.ratio(1, 100000, num)
    ),
}


def flat(x):
    return [y for item in x for y in flat(item)] if isinstance(x, list | tuple) else [x]


@pytest.mark.parametrize("name", CALLS)
def test_floats_agree_with_fifty_digits(name):
    plain = flat(CALLS[name](math))
    with mpmath.workdps(50):
        precise = flat(CALLS[name](mpmath))
    largest = max(abs(x) for x in precise)
    assert largest > 0.1
    assert all(abs(x - y) <= 1e-12 * largest for x, y in zip(plain, precise, strict=True))


@pytest.mark.parametrize("name", [name for name in CALLS if name != "decoder"])
def test_more_digits_are_more_digits_and_sympy_is_exact(name):
    exact = [sympy.sympify(x) for x in flat(CALLS[name](sympy))]
    assert not any(x.atoms(sympy.Float) for x in exact)
    with mpmath.workdps(50):
        precise = flat(CALLS[name](mpmath))
        assert all(
            abs(mpmath.mpf(sympy.N(x, 60)) - y) <= mpmath.mpf(10) ** -40 for x, y in zip(exact, precise, strict=True)
        )


def test_whole_numbers_stay_exact():
    assert papers.ratio(44715, 1000000, sympy) == sympy.Rational(8943, 200000)
    assert papers.ratio(44715, 1000000, math) == 0.044715
    assert papers.rms([1, 2, 2], sympy) == sympy.sqrt(3)
    assert papers.rms_norm([1, 7], [1, 1], sympy) == [sympy.Rational(1, 5), sympy.Rational(7, 5)]
    assert papers.layer_norm([1, 2, 4, 5], sympy)[0] == -2 / sympy.sqrt(sympy.Rational(5, 2))
    assert papers.softmax([0, 0, 0], sympy) == [sympy.Rational(1, 3)] * 3
    assert papers.linear([1, 2], [[3, 4], [5, 6], [7, 8]]) == [11, 17, 23]
    assert papers.cross_entropy([0, 0], 1, sympy) == sympy.log(2)


def test_norms_of_symbols():
    a = sympy.symbols("a:3", real=True)
    shift = sympy.Symbol("s", real=True)
    normed = papers.layer_norm(a, sympy)
    assert sympy.simplify(sum(normed)) == 0
    assert sympy.simplify(sum(x * x for x in normed)) == 3
    moved = papers.layer_norm([x + shift for x in a], sympy)
    assert all(sympy.simplify(x - y) == 0 for x, y in zip(moved, normed, strict=True))
    by_rms = papers.rms_norm(a, [1, 1, 1], sympy)
    assert sympy.simplify(sum(x * x for x in by_rms)) == 3
    assert sympy.simplify(sum(by_rms)) != 0
    factor = sympy.Symbol("c", positive=True)
    scaled = papers.rms_norm([factor * x for x in a], [1, 1, 1], sympy)
    assert all(sympy.simplify(x - y) == 0 for x, y in zip(scaled, by_rms, strict=True))


def test_eps_is_inside_the_root_and_nowhere_by_default():
    a, eps = sympy.symbols("a e", positive=True)
    assert papers.rms([a], sympy) == a
    assert papers.rms([a], sympy, eps) == sympy.sqrt(a**2 + eps)
    assert papers.layer_norm([0, 2], sympy, 3) == [sympy.Rational(-1, 2), sympy.Rational(1, 2)]


def test_softmax_and_loss_of_symbols():
    z = sympy.symbols("z:3", real=True)
    weights = papers.softmax(z, sympy)
    assert sympy.simplify(sum(weights)) == 1
    shifted = papers.softmax([x - z[0] for x in z], sympy)
    assert all(sympy.simplify(x - y) == 0 for x, y in zip(shifted, weights, strict=True))
    slope = sympy.diff(papers.cross_entropy(z, 1, sympy), z[1])
    assert sympy.simplify(slope - (weights[1] - 1)) == 0


def test_softmax_does_not_take_off_the_maximum():
    with pytest.raises(OverflowError):
        papers.softmax([710.0, 0.0], math)
    with pytest.raises(ZeroDivisionError):
        papers.softmax([-800.0, -800.0], math)


def test_gelu_and_its_approximation():
    x = sympy.Symbol("x", real=True)
    for function in (papers.gelu, papers.gelu_tanh):
        assert sympy.simplify(function(x, sympy) - function(-x, sympy) - x) == 0
        assert function(sympy.Integer(0), sympy) == 0
    points = [i / 1000 for i in range(-6000, 6001)]
    apart = [abs(papers.gelu(p, math) - papers.gelu_tanh(p, math)) for p in points]
    assert max(apart) == pytest.approx(4.73e-4, rel=1e-3)
    assert abs(points[apart.index(max(apart))]) == pytest.approx(2.699, abs=1e-3)


def test_relu_of_symbols_whose_sign_is_known():
    positive, negative = sympy.Symbol("p", positive=True), sympy.Symbol("n", negative=True)
    assert (papers.relu(positive), papers.relu(negative)) == (positive, 0)
    with pytest.raises(TypeError):
        papers.relu(sympy.Symbol("x", real=True))


def test_attention_of_symbols_is_a_mixture_of_values():
    q, k = [[1, 0]], [[1, 1], [3, 5]]
    a, b = sympy.symbols("a b")
    out = papers.scaled_dot_product_attention(q, k, [[a], [b]], sympy, [[True, True]])
    low, high = sympy.exp(1 / sympy.sqrt(2)), sympy.exp(3 / sympy.sqrt(2))
    assert sympy.simplify(out[0][0] - (low * a + high * b) / (low + high)) == 0
    assert papers.scaled_dot_product_attention(q, k, [[a], [b]], sympy, [[False, True]]) == [[b]]


def test_what_is_masked_has_no_influence():
    q, k, v = MATRICES
    before = papers.causal_self_attention(q, k, v, 2, math)
    changed = [rows[:3] + [[1e6, math.nan, -1e6, math.inf]] * 2 for rows in (q, k, v)]
    assert papers.causal_self_attention(*changed, 2, math)[:3] == before[:3]
    assert before[0] == pytest.approx(v[0], rel=1e-15)


def test_heads_are_contiguous_and_apart():
    q, k, v = MATRICES
    both = papers.causal_self_attention(q, k, v, 2, math)
    left = papers.causal_self_attention(*([row[:2] for row in rows] for rows in (q, k, v)), 1, math)
    right = papers.causal_self_attention(*([row[2:] for row in rows] for rows in (q, k, v)), 1, math)
    assert both == [[*a, *b] for a, b in zip(left, right, strict=True)]
    assert both != papers.causal_self_attention(q, k, v, 1, math)


def test_one_adam_step_of_symbols():
    theta, m, g = sympy.symbols("theta m g", real=True)
    v, alpha, b1, b2, eps, t = sympy.symbols("v alpha beta1 beta2 epsilon t", positive=True)
    new_theta, new_m, new_v = papers.adam_step(theta, m, v, g, t, alpha, b1, b2, eps, sympy)
    assert sympy.expand(new_m - (b1 * m + g - b1 * g)) == 0
    assert sympy.expand(new_v - (b2 * v + g**2 - b2 * g**2)) == 0
    m_hat, v_hat = new_m / (1 - b1**t), new_v / (1 - b2**t)
    assert sympy.simplify(theta - new_theta - alpha * m_hat / (sympy.sqrt(v_hat) + eps)) == 0
    first = sympy.simplify(new_theta.subs({m: 0, v: 0, t: 1}))
    assert sympy.simplify(theta - first - alpha * g / (sympy.Abs(g) + eps)) == 0
    assert sympy.simplify(first - theta - papers.adam_first_step(g, alpha, eps, sympy)) == 0


def test_decoder_is_causal_and_uses_every_weight():
    weights, sizes = small_decoder(math)
    before = papers.decoder_logits(weights, [4, 0, 4], sizes, math)
    assert [len(row) for row in before] == [5, 5, 5]
    assert papers.decoder_logits(weights, [4, 0, 1], sizes, math)[:2] == before[:2]
    for name, matrix in weights.items():
        for row in (0, -1):
            changed = [[*r] for r in matrix]
            changed[row] = [x + 0.5 + i for i, x in enumerate(changed[row])]
            assert papers.decoder_logits(weights | {name: changed}, [4, 0, 4], sizes, math) != before, (name, row)


@pytest.mark.parametrize(
    ("error", "call"),
    [
        (ValueError, lambda: papers.rms_norm([1.0, 2.0], [1.0], math)),
        (ValueError, lambda: papers.linear([1.0, 2.0], [[1.0]])),
        (ValueError, lambda: papers.causal_self_attention([[1.0] * 3], [[1.0] * 3], [[1.0] * 3], 2, math)),
        (ValueError, lambda: papers.scaled_dot_product_attention([[1.0]], [[1.0]], [[1.0]], math, [[False]])),
        (ValueError, lambda: papers.scaled_dot_product_attention([[1.0]], [[1.0]] * 2, [[1.0]], math, [[True] * 2])),
        (ValueError, lambda: papers.scaled_dot_product_attention([[1.0]] * 2, [[1.0]], [[1.0]], math, [[True]])),
        (IndexError, lambda: papers.cross_entropy([1.0, 2.0], 2, math)),
        (IndexError, lambda: papers.cross_entropy([1.0, 2.0], -1, math)),
        (ZeroDivisionError, lambda: papers.rms_norm([0.0, 0.0], [1.0, 1.0], math)),
        (ZeroDivisionError, lambda: papers.layer_norm([2.0, 2.0], math)),
        (ZeroDivisionError, lambda: papers.adam_step(0.0, 0.0, 0.0, 1.0, 0, 0.1, 0.9, 0.99, 1e-8, math)),
        (IndexError, lambda: papers.decoder_logits(small_decoder(math)[0], [5], small_decoder(math)[1], math)),
        (IndexError, lambda: papers.decoder_logits(small_decoder(math)[0], [-1], small_decoder(math)[1], math)),
        (IndexError, lambda: papers.decoder_logits(small_decoder(math)[0], [0] * 4, small_decoder(math)[1], math)),
    ],
)
def test_what_does_not_fit_is_refused(error, call):
    with pytest.raises(error):
        call()


def test_nothing_heavy_is_imported():
    code = "import sys, reference.papers, reference.recipe; print({'torch', 'numpy', 'sympy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
