"""The papers' equations, transcribed literally: one function an equation, with nothing added that the paper lacks.

They are generic over numbers. `num` is any module with exp, log, sqrt, tanh, erf and pi: `math` makes them float64,
`mpmath` gives as many digits as one asks for, `sympy` makes them exact, symbols included. Vectors are lists, matrices
lists of rows, and a row of weights is one output. No float is written here: it would spoil the last two.

Letters: T positions, C width of the stream, H heads, D = C / H, L layers, V vocabulary, B block size.
"""

from collections.abc import Mapping, Sequence
from typing import Any

Number = Any  # float, mpmath.mpf or sympy.Expr
Vector = Sequence[Number]
Matrix = Sequence[Vector]


def ratio(numerator: int, denominator: int, num: Any) -> Number:
    """numerator / denominator as a number of `num`'s kind: exact in sympy, at the working precision in mpmath.

    Raises ZeroDivisionError for a denominator 0 (sympy: its complex infinity).
    """
    return numerator * num.exp(0) / denominator  # exp(0) is a 1 of the right kind; int / int would be a float


def rms(a: Vector, num: Any, eps_under_root: Number = 0) -> Number:
    """RMS(a) = sqrt(1/n sum_i a_i^2): n to one number. Zhang & Sennrich 2019 (arXiv:1910.07467), eq. 4.

    The paper prints no eps: it is given only to state by how much a subject departs from it.
    Raises ZeroDivisionError where a is empty.
    """
    return num.sqrt(ratio(1, len(a), num) * sum(a_i * a_i for a_i in a) + eps_under_root)


def rms_norm(a: Vector, g: Vector, num: Any, eps_under_root: Number = 0) -> list[Number]:
    """a_i / RMS(a) * g_i: n to n. Zhang & Sennrich 2019 (arXiv:1910.07467), eq. 4.

    Raises ValueError where a and g differ in length, ZeroDivisionError where a is zero (or empty) and no eps is given.
    """
    size = rms(a, num, eps_under_root)
    return [a_i / size * g_i for a_i, g_i in zip(a, g, strict=True)]


def layer_norm(a: Vector, num: Any, eps_under_root: Number = 0) -> list[Number]:
    """(a_i - mu) / sigma, with mu = 1/n sum_i a_i and sigma = sqrt(1/n sum_i (a_i - mu)^2): n to n.

    Ba, Kiros & Hinton 2016 (arXiv:1607.06450), eq. 3; the gain and bias of eq. 4 are left to the caller. No eps is
    printed there either. Raises ZeroDivisionError where all a_i are equal (or a is empty) and no eps is given.
    """
    n = len(a)
    mu = ratio(1, n, num) * sum(a)
    sigma = num.sqrt(ratio(1, n, num) * sum((a_i - mu) * (a_i - mu) for a_i in a) + eps_under_root)
    return [(a_i - mu) / sigma for a_i in a]


def softmax(z: Vector, num: Any) -> list[Number]:
    """exp(z_i) / sum_j exp(z_j): n to n, the softmax of Vaswani et al. 2017 (arXiv:1706.03762), eq. 1.

    No maximum is taken off: OverflowError in math above 709, ZeroDivisionError where every exp underflows.
    """
    exps = [num.exp(z_i) for z_i in z]
    total = sum(exps)
    return [e / total for e in exps]


def linear(x: Vector, w: Matrix) -> list[Number]:
    """sum_j w_ij x_j: x is n_in, w n_out x n_in, the result n_out. The projections of Vaswani et al. 2017, 3.2.2.

    Raises ValueError where a row of w is not as long as x.
    """
    return [sum(w_ij * x_j for w_ij, x_j in zip(row, x, strict=True)) for row in w]


def causal_mask(length: int) -> list[list[bool]]:
    """mask[i][j] is True where position i may attend to j <= i: T x T. Vaswani et al. 2017, section 3.2.3.

    "all positions in the decoder up to and including that position". Raises nothing.
    """
    return [[j <= i for j in range(length)] for i in range(length)]


def scaled_dot_product_attention(Q: Matrix, K: Matrix, V: Matrix, num: Any, mask: Sequence[Sequence[bool]]) -> Matrix:
    """softmax(Q K^T / sqrt(d_k)) V: T x D each, T x D. Vaswani et al. 2017 (arXiv:1706.03762), eq. 1.

    mask[i][j] True is a legal connection. Section 3.2.3 sets illegal ones to minus infinity, whose exp is exactly
    zero: here they are left out of the sums. Raises ValueError where lengths disagree or a row has nothing legal.
    """
    mixed = []
    for q, legal_row in zip(Q, mask, strict=True):
        legal = [(k, v) for k, v, is_legal in zip(K, V, legal_row, strict=True) if is_legal]
        if not legal:
            raise ValueError("a position may attend to nothing. Give every row of the mask at least one True")
        scores = [sum(q_c * k_c for q_c, k_c in zip(q, k, strict=True)) / num.sqrt(len(k)) for k, _ in legal]
        weights = softmax(scores, num)
        columns = zip(*(v for _, v in legal), strict=True)
        mixed.append([sum(w * v_c for w, v_c in zip(weights, column, strict=True)) for column in columns])
    return mixed


def causal_self_attention(q: Matrix, k: Matrix, v: Matrix, n_head: int, num: Any) -> Matrix:
    """Concat(head_1, ..., head_H), each eq. 1 on its D channels with the causal mask: T x C each, T x C.

    Vaswani et al. 2017 (arXiv:1706.03762), sections 3.2.2 and 3.2.3, before the output projection.
    Raises ValueError where n_head does not divide C or lengths disagree.
    """
    width = len(q[0])
    if width % n_head:
        raise ValueError(f"width {width} is not a multiple of n_head {n_head}")
    size, mask = width // n_head, causal_mask(len(q))
    heads = []
    for start in range(0, width, size):
        Q, K, V = ([row[start : start + size] for row in matrix] for matrix in (q, k, v))
        heads.append(scaled_dot_product_attention(Q, K, V, num, mask))
    return [[number for head in heads for number in head[t]] for t in range(len(q))]


def relu(x: Number) -> Number:
    """max(0, x), as in Vaswani et al. 2017 (arXiv:1706.03762), eq. 2: one number to one.

    Raises TypeError for a sympy symbol whose sign is not known.
    """
    return max(0, x)


def gelu(x: Number, num: Any) -> Number:
    """X Phi(x) = x/2 (1 + erf(x / sqrt 2)). Hendrycks & Gimpel 2016 (arXiv:1606.08415), section 2. Raises nothing."""
    return x * (ratio(1, 2, num) * (1 + num.erf(x / num.sqrt(2))))


def gelu_tanh(x: Number, num: Any) -> Number:
    """0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))). Hendrycks & Gimpel 2016 (arXiv:1606.08415), section 2.

    The paper's approximation of `gelu`. Raises nothing.
    """
    cubic = x + ratio(44715, 1000000, num) * x * x * x
    return ratio(1, 2, num) * x * (1 + num.tanh(num.sqrt(2 / num.pi) * cubic))


def cross_entropy(logits: Vector, target: int, num: Any) -> Number:
    """-log softmax(logits)[target]: V numbers to one. Radford et al. 2018, eq. 1: the negative of one of its terms.

    Raises IndexError where target is not in 0 .. V-1.
    """
    if not 0 <= target < len(logits):
        raise IndexError(f"target {target} is not in 0 .. {len(logits) - 1}")
    return -num.log(softmax(logits, num)[target])


def adam_step(
    theta: Number,
    m: Number,
    v: Number,
    g: Number,
    t: Number,
    alpha: Number,
    beta1: Number,
    beta2: Number,
    eps: Number,
    num: Any,
) -> tuple[Number, Number, Number]:
    """One step for one parameter, t from 1; returns (theta, m, v). Kingma & Ba, arXiv:1412.6980v9, Algorithm 1.

    m_t = beta1 m + (1 - beta1) g and v_t = beta2 v + (1 - beta2) g^2; m^ = m_t / (1 - beta1^t) and
    v^ = v_t / (1 - beta2^t); theta_t = theta - alpha m^ / (sqrt(v^) + eps).
    Raises ZeroDivisionError where t is 0, or where eps and v^ both are.
    """
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * (g * g)
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    return theta - alpha * m_hat / (num.sqrt(v_hat) + eps), m, v


def adam_first_step(g: Number, alpha: Number, eps: Number, num: Any) -> Number:
    """-alpha g / (|g| + eps): what the first step adds to a parameter; one number, in units of alpha.

    Kingma & Ba, arXiv:1412.6980v9, Algorithm 1 at t = 1 with m_0 = v_0 = 0: there m^ = g and v^ = g^2.
    Raises ZeroDivisionError where g and eps both are zero.
    """
    return -alpha * g / (num.sqrt(g * g) + eps)


def decoder_logits(
    weights: Mapping[str, Matrix], tokens: Sequence[int], sizes: Mapping[str, int], num: Any, eps_under_root: Number = 0
) -> list[list[Number]]:
    """The V logits at each of T positions, T x V, of the decoder that microgpt is, put together from the above.

    x = RMSNorm(wte + wpe); in each layer x += attn_wo Attention(RMSNorm(x)), x += mlp_fc2 max(0, mlp_fc1 RMSNorm(x));
    then lm_head. weights go by microgpt's names; sizes holds n_head and n_layer. Sources: those of the parts, and
    Radford et al. 2019, section 2.3, for the place of the norms. Raises KeyError for a missing weight, IndexError for
    a token or position beyond its table, ValueError where lengths disagree.
    """

    def norm(rows: Matrix) -> Matrix:
        return [rms_norm(row, [1] * len(row), num, eps_under_root) for row in rows]

    def project(rows: Matrix, name: str) -> Matrix:
        return [linear(row, weights[name]) for row in rows]

    def add(a: Matrix, b: Matrix) -> Matrix:
        return [[p + q for p, q in zip(row_a, row_b, strict=True)] for row_a, row_b in zip(a, b, strict=True)]

    if min(tokens, default=0) < 0:
        raise IndexError(f"token {min(tokens)} is negative")
    embedded = add([weights["wte"][token] for token in tokens], [weights["wpe"][t] for t in range(len(tokens))])
    x = norm(embedded)
    for layer in range(sizes["n_layer"]):
        inside = norm(x)
        q, k, v = (project(inside, f"layer{layer}.attn_w{which}") for which in "qkv")
        x = add(x, project(causal_self_attention(q, k, v, sizes["n_head"], num), f"layer{layer}.attn_wo"))
        hidden = [[relu(number) for number in row] for row in project(norm(x), f"layer{layer}.mlp_fc1")]
        x = add(x, project(hidden, f"layer{layer}.mlp_fc2"))
    return [linear(row, weights["lm_head"]) for row in x]
