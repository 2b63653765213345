"""A GPT with nothing left out and nothing imported: data, tokenizer, autograd, model, optimizer, training, sampling.

It is a rewrite of Andrej Karpathy's microgpt (2026). The arithmetic is the original's, operation for operation, and so
is the order in which random numbers are drawn: the same data give the same losses and samples to the last bit.
Importing this file does nothing; ``python -m microgpt`` trains and then samples.

Letters used for sizes:

    V  tokens in the vocabulary      H  attention heads           B  block size, the longest context
    C  width of the stream, n_embd   D  width of a head, C / H    T  positions processed so far
    L  layers                        N  documents

A vector is a list of `Value`, a matrix a list of rows, and a row is one output: a layer from C to 4C is 4C x C.
"""

import argparse
import io
import math
import os
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

LEARNING_RATE, BETA1, BETA2, EPS_ADAM = 0.01, 0.85, 0.99, 1e-8
NUM_STEPS, NUM_SAMPLES, TEMPERATURE, INIT_STD, SEED = 1000, 20, 0.5, 0.08, 42
NAMES = Path(__file__).with_name("names.txt")


# --- data -------------------------------------------------------------------------------------------------------------


def load_documents(path: Path, rng: random.Random) -> list[str]:
    """The non-empty lines of a text file, stripped, in shuffled order: N documents."""
    lines = path.read_text(encoding="utf-8").split("\n")
    documents = [line.strip() for line in lines if line.strip()]
    rng.shuffle(documents)
    return documents


class Tokenizer:
    """Characters, sorted, are the ids 0 .. V-2. The last id, V-1, is BOS: it begins and it ends every document."""

    def __init__(self, documents: list[str]) -> None:
        self.characters = sorted(set("".join(documents)))
        self.bos = len(self.characters)
        self.vocab_size = len(self.characters) + 1
        self._ids = {character: i for i, character in enumerate(self.characters)}

    def encode(self, document: str) -> list[int]:
        """``[BOS, c_1, ..., c_n, BOS]``; KeyError for a character that the documents did not have."""
        return [self.bos, *(self._ids[character] for character in document), self.bos]

    def decode(self, tokens: list[int]) -> str:
        """The text of a list of tokens, without its BOS."""
        return "".join(self.characters[token] for token in tokens if token != self.bos)


# --- autograd ---------------------------------------------------------------------------------------------------------


class Value:
    """A number that remembers what it was computed from, and its derivative by each of those: a node of a graph."""

    __slots__ = ("children", "data", "grad", "local_grads")

    def __init__(self, data: float, children: tuple["Value", ...] = (), local_grads: tuple[float, ...] = ()) -> None:
        self.data = data  # the number itself, found in the forward pass
        self.grad = 0.0  # d loss / d self, found in the backward pass
        self.children = children
        self.local_grads = local_grads  # d self / d child, one for each child

    def __add__(self, other: "Value | float") -> "Value":  # d(a + b)/da = 1, d(a + b)/db = 1
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.data + other.data, (self, other), (1.0, 1.0))

    def __mul__(self, other: "Value | float") -> "Value":  # d(a b)/da = b, d(a b)/db = a
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.data * other.data, (self, other), (other.data, self.data))

    def __pow__(self, power: float) -> "Value":  # d(a^n)/da = n a^(n-1), for a constant n
        return Value(self.data**power, (self,), (power * self.data ** (power - 1),))

    def log(self) -> "Value":  # d(log a)/da = 1 / a
        return Value(math.log(self.data), (self,), (1 / self.data,))

    def exp(self) -> "Value":  # d(exp a)/da = exp a
        result = math.exp(self.data)
        return Value(result, (self,), (result,))

    def relu(self) -> "Value":  # d(relu a)/da = 1 where a > 0, else 0
        return Value(max(0.0, self.data), (self,), (float(self.data > 0),))

    def __neg__(self) -> "Value":
        return self * -1

    def __sub__(self, other: "Value | float") -> "Value":
        return self + -other

    def __truediv__(self, other: "Value | float") -> "Value":
        return self * other**-1

    def __radd__(self, other: float) -> "Value":
        return self + other

    def __rmul__(self, other: float) -> "Value":
        return self * other

    def __rsub__(self, other: float) -> "Value":
        return other + -self

    def __rtruediv__(self, other: float) -> "Value":
        return other * self**-1

    def backward(self) -> None:
        """Add d self / d node to the ``grad`` of every node below: the chain rule, from the output to the leaves."""
        self.grad = 1.0
        for node in reversed(self._topological_order()):
            for child, local_grad in zip(node.children, node.local_grads, strict=True):
                child.grad += local_grad * node.grad

    def _topological_order(self) -> list["Value"]:
        """Every node once, children before parents. A stack of its own: a long document would exhaust Python's."""
        order: list[Value] = []
        visited: set[Value] = set()
        stack = [(self, False)]
        while stack:
            node, children_done = stack.pop()
            if children_done:
                order.append(node)
            elif node not in visited:
                visited.add(node)
                stack.append((node, True))
                stack.extend((child, False) for child in reversed(node.children))
        return order


Vector = list[Value]
Matrix = list[Vector]


# --- model ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Config:
    """The sizes of a model."""

    vocab_size: int  # V
    n_embd: int = 16  # C
    n_head: int = 4  # H
    n_layer: int = 1  # L
    block_size: int = 16  # B


def init_state_dict(config: Config, rng: random.Random) -> dict[str, Matrix]:
    """Random weights by name: no biases, no gains, and a head of its own. The order is that of the draws."""

    def matrix(n_out: int, n_in: int) -> Matrix:
        return [[Value(rng.gauss(0, INIT_STD)) for _ in range(n_in)] for _ in range(n_out)]

    width = config.n_embd
    state_dict = {
        "wte": matrix(config.vocab_size, width),  # V x C, one row a token
        "wpe": matrix(config.block_size, width),  # B x C, one row a position
        "lm_head": matrix(config.vocab_size, width),  # V x C
    }
    for layer in range(config.n_layer):
        for name in ("attn_wq", "attn_wk", "attn_wv", "attn_wo"):
            state_dict[f"layer{layer}.{name}"] = matrix(width, width)  # C x C
        state_dict[f"layer{layer}.mlp_fc1"] = matrix(4 * width, width)  # 4C x C
        state_dict[f"layer{layer}.mlp_fc2"] = matrix(width, 4 * width)  # C x 4C
    return state_dict


def flatten(state_dict: dict[str, Matrix]) -> Vector:
    """Every parameter, in the order in which they were drawn."""
    return [value for matrix in state_dict.values() for row in matrix for value in row]


def linear(x: Vector, w: Matrix) -> Vector:
    """``w x``: x is n_in, w is n_out x n_in, the result n_out."""
    return [sum(wi * xi for wi, xi in zip(row, x, strict=True)) for row in w]


def softmax(logits: Vector) -> Vector:
    """Probabilities in proportion to ``exp(logit)``; the largest is taken off first, so that no exp overflows."""
    largest = max(logit.data for logit in logits)
    exps = [(logit - largest).exp() for logit in logits]
    total = sum(exps)
    return [e / total for e in exps]


def rmsnorm(x: Vector) -> Vector:
    """x over its root mean square: C to C, without gain, 1e-5 under the root (Zhang & Sennrich 2019, eq. 4)."""
    mean_square = sum(xi * xi for xi in x) / len(x)
    scale = (mean_square + 1e-5) ** -0.5
    return [xi * scale for xi in x]


def attend(q: Vector, keys: Matrix, values: Matrix) -> Vector:
    """One head at one position: q is D, keys and values T x D, one row for each position so far; the result D."""
    scores = [sum(qi * ki for qi, ki in zip(q, k, strict=True)) / len(q) ** 0.5 for k in keys]
    weights = softmax(scores)
    return [sum(weight * v[j] for weight, v in zip(weights, values, strict=True)) for j in range(len(q))]


def gpt(
    state_dict: dict[str, Matrix], config: Config, token_id: int, pos_id: int, keys: list[Matrix], values: list[Matrix]
) -> Vector:
    """The V logits of the token that follows `token_id`, which stands at `pos_id`.

    keys and values are the KV cache, for each layer the T vectors (C) of the positions so far. They grow by one here.
    Nothing masks the future: it is not in the cache yet.
    """
    token_embedding, position_embedding = state_dict["wte"][token_id], state_dict["wpe"][pos_id]
    x = [t + p for t, p in zip(token_embedding, position_embedding, strict=True)]
    x = rmsnorm(x)
    for layer in range(config.n_layer):
        # Multi-head attention, on a normalised copy of the stream, added back to it.
        residual = x
        x = rmsnorm(x)
        q = linear(x, state_dict[f"layer{layer}.attn_wq"])
        keys[layer].append(linear(x, state_dict[f"layer{layer}.attn_wk"]))
        values[layer].append(linear(x, state_dict[f"layer{layer}.attn_wv"]))
        heads: Vector = []
        head_size = config.n_embd // config.n_head
        for start in range(0, config.n_embd, head_size):
            part = slice(start, start + head_size)
            heads += attend(q[part], [k[part] for k in keys[layer]], [v[part] for v in values[layer]])
        x = linear(heads, state_dict[f"layer{layer}.attn_wo"])
        x = [a + b for a, b in zip(x, residual, strict=True)]
        # Multi-layer perceptron, in the same way.
        residual = x
        x = rmsnorm(x)
        x = linear(x, state_dict[f"layer{layer}.mlp_fc1"])
        x = [xi.relu() for xi in x]
        x = linear(x, state_dict[f"layer{layer}.mlp_fc2"])
        x = [a + b for a, b in zip(x, residual, strict=True)]
    return linear(x, state_dict["lm_head"])


def empty_cache(config: Config) -> tuple[list[Matrix], list[Matrix]]:
    """Keys and values of no position: one empty list for each layer."""
    return [[] for _ in range(config.n_layer)], [[] for _ in range(config.n_layer)]


def document_loss(state_dict: dict[str, Matrix], config: Config, tokens: list[int]) -> Value:
    """The mean of ``-log p(next token)`` over the first T = min(B, len(tokens) - 1) positions of one document."""
    positions = min(config.block_size, len(tokens) - 1)
    keys, values = empty_cache(config)
    losses = []
    for pos_id in range(positions):
        logits = gpt(state_dict, config, tokens[pos_id], pos_id, keys, values)
        probabilities = softmax(logits)
        losses.append(-probabilities[tokens[pos_id + 1]].log())
    return (1 / positions) * sum(losses)


# --- optimizer --------------------------------------------------------------------------------------------------------


def learning_rate_at(step: int, num_steps: int) -> float:
    """Linear decay: the full rate at step 0, one ``num_steps``-th of it in the last step."""
    return LEARNING_RATE * (1 - step / num_steps)


def adam_update(
    parameters: Vector,
    m: list[float],
    v: list[float],
    step: int,
    learning_rate: float,
    beta1: float = BETA1,
    beta2: float = BETA2,
    eps: float = EPS_ADAM,
) -> None:
    """One step of Adam (Kingma & Ba 2014, Algorithm 1, with t = step + 1), in place; gradients are cleared.

    m and v are the running means of each parameter's gradient and of its square: lists as long as `parameters`.
    """
    for i, parameter in enumerate(parameters):
        m[i] = beta1 * m[i] + (1 - beta1) * parameter.grad
        v[i] = beta2 * v[i] + (1 - beta2) * parameter.grad**2
        # Both means start at zero, which pulls them towards it at first; this undoes the pull.
        m_hat = m[i] / (1 - beta1 ** (step + 1))
        v_hat = v[i] / (1 - beta2 ** (step + 1))
        parameter.data -= learning_rate * m_hat / (v_hat**0.5 + eps)
        parameter.grad = 0.0


# --- training and sampling --------------------------------------------------------------------------------------------


def train(
    state_dict: dict[str, Matrix], config: Config, documents: list[list[int]], num_steps: int
) -> Iterator[tuple[int, float]]:
    """Train in place, one tokenized document a step; yields each step's number, from 0, and its loss."""
    parameters = flatten(state_dict)
    m, v = [0.0] * len(parameters), [0.0] * len(parameters)
    for step in range(num_steps):
        loss = document_loss(state_dict, config, documents[step % len(documents)])
        loss.backward()
        adam_update(parameters, m, v, step, learning_rate_at(step, num_steps))
        yield step, loss.data


def sample(
    state_dict: dict[str, Matrix], config: Config, bos: int, temperature: float, rng: random.Random
) -> list[int]:
    """Draw one document token by token, from BOS until BOS comes again or B tokens are there; BOS is left out."""
    keys, values = empty_cache(config)
    token_id, tokens = bos, []
    for pos_id in range(config.block_size):
        logits = gpt(state_dict, config, token_id, pos_id, keys, values)
        probabilities = softmax([logit / temperature for logit in logits])
        token_id = rng.choices(range(config.vocab_size), weights=[p.data for p in probabilities])[0]
        if token_id == bos:
            break
        tokens.append(token_id)
    return tokens


# --- command line -----------------------------------------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}. See --help.\n")


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line's options, checked: what is wrong ends in one line and exit code 2."""
    parser = Parser(prog="microgpt", description="Train a tiny GPT on a list of names, then sample.")
    parser.add_argument("--data", type=Path, default=NAMES, help="text file, one document a line (default: names.txt)")
    parser.add_argument("--steps", type=int, default=NUM_STEPS, help="training steps, one document each (%(default)s)")
    parser.add_argument("--samples", type=int, default=NUM_SAMPLES, help="documents to draw afterwards (%(default)s)")
    parser.add_argument("--seed", type=int, default=SEED, help="of every random number (%(default)s)")
    parser.add_argument("--temperature", type=float, default=TEMPERATURE, help="above 0; low is cautious (%(default)s)")
    options = parser.parse_args(arguments)
    if options.steps < 0 or options.samples < 0:
        parser.error("--steps and --samples take 0 or more")
    if not 1e-300 < options.temperature < math.inf:
        parser.error("--temperature takes a number above 0; 0.5 is the default")
    return options


def main(arguments: list[str] | None = None) -> None:
    """Train on a file of documents and print samples; exits with one line where the file cannot serve."""
    options = parse_arguments(arguments)
    rng = random.Random(options.seed)
    try:
        documents = load_documents(options.data, rng)
    except (OSError, UnicodeDecodeError) as error:
        sys.exit(f"microgpt: cannot read {options.data}: {error}. Give a UTF-8 text file, one document a line.")
    if not documents:
        sys.exit(f"microgpt: {options.data} has no documents. Give a text file with one document a line.")
    tokenizer = Tokenizer(documents)
    config = Config(tokenizer.vocab_size)
    state_dict = init_state_dict(config, rng)
    print(f"documents: {len(documents)}, vocabulary: {config.vocab_size}, parameters: {len(flatten(state_dict))}")

    end = "\r" if sys.stdout.isatty() else "\n"
    tokenized = [tokenizer.encode(document) for document in documents]
    for step, loss in train(state_dict, config, tokenized, options.steps):
        print(f"step {step + 1} / {options.steps} | loss {loss:.4f}", end=end, flush=True)
    print(end="\n" if end == "\r" else "")
    for number in range(1, options.samples + 1):
        tokens = sample(state_dict, config, tokenizer.bos, options.temperature, rng)
        print(f"sample {number}: {tokenizer.decode(tokens)}", flush=True)


def run() -> None:
    """`main` for a terminal: text that it cannot show is escaped, and a pipe that closes early ends the program."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        main()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still buffered has nowhere to go
        sys.exit(1)


if __name__ == "__main__":
    run()
