"""What a Python microgpt does while it runs: as a file, in training, in sampling, and on its way through the model.

It runs in the subject's process and needs the standard library alone. What is looked at is seen at the calls of the
subject's own functions, by their names.

Letters: T positions, C width, L layers, V vocabulary, B block size, k steps.
"""

import ast
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from harness.subjects.driving import Answer, Inputs, Model, Subject, Unsupported, call, data, gradient, own_parameters

# --- the file ---------------------------------------------------------------------------------------------------------


def imports(subject: Subject, _inputs: Inputs) -> Answer:
    """The modules that the file imports, anywhere in it, beyond the standard library; relative ones keep their dots."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(subject.text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add("." * node.level + (node.module or ""))
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("__import__", "import_module")):
            names |= {
                str(part.value) if isinstance(part, ast.Constant) else "a computed name" for part in node.args[:1]
            }
    foreign = sorted(name for name in names if name.partition(".")[0] not in sys.stdlib_module_names)
    return {"beyond the standard library": foreign}


def interpreter(_subject: Subject, _inputs: Inputs) -> Answer:
    """How the process that has just run the subject was started, and where else it could find packages."""
    folders = [path for path in sys.path if "site-packages" in path or "dist-packages" in path]
    return {"isolated": bool(sys.flags.isolated), "without site": bool(sys.flags.no_site), "package folders": folders}


def documents(subject: Subject, inputs: Inputs) -> Answer:
    """The documents that the subject reads from a text file, sorted; and whether it has changed their order."""
    file = Path("documents.txt")  # in the scratch folder that the process was started in
    file.write_bytes(inputs["text"].encode())
    found = list(subject.part("load_documents")(file, random.Random(inputs["seed"])))  # noqa: S311
    in_file_order = [line for line in map(str.strip, inputs["text"].split("\n")) if line in found]
    return {"documents": sorted(found), "shuffled": found != in_file_order}


def shared_parameters(subject: Subject, inputs: Inputs) -> Answer:
    """Pairs of parameter tables that have a number in common: the same object, not an equal one."""
    table = own_parameters(subject, call(subject, "Config", **inputs["sizes"]))
    numbers = {name: {id(value) for row in matrix for value in row} for name, matrix in table.items()}
    pairs = [(a, b) for a in sorted(numbers) for b in sorted(numbers) if a < b]
    return {"shared": [f"{a} and {b}" for a, b in pairs if numbers[a] & numbers[b]]}


# --- autograd ---------------------------------------------------------------------------------------------------------

_OPERATIONS: dict[str, Callable[..., Any]] = {
    "a + b": lambda a, b, _: a + b,
    "a - b": lambda a, b, _: a - b,
    "a * b": lambda a, b, _: a * b,
    "a / b": lambda a, b, _: a / b,
    "a + c": lambda a, c: a + c,
    "c + a": lambda a, c: c + a,
    "a - c": lambda a, c: a - c,
    "c - a": lambda a, c: c - a,
    "a * c": lambda a, c: a * c,
    "c * a": lambda a, c: c * a,
    "a / c": lambda a, c: a / c,
    "c / a": lambda a, c: c / a,
    "a ** c": lambda a, c: a**c,
    "-a": lambda a, _: -a,
    "log a": lambda a, _: a.log(),
    "exp a": lambda a, _: a.exp(),
    "relu a": lambda a, _: a.relu(),
}


def expressions(subject: Subject, inputs: Inputs) -> Answer:
    """Value of every node of a graph, and its derivative in the sum of all nodes times a random cotangent."""
    nodes = subject.vector("leaf", inputs["leaves"])
    for operation, operands, constant in inputs["program"]:
        nodes.append(_OPERATIONS[operation](*(nodes[i] for i in operands), constant))
    sum(node * weight for node, weight in zip(nodes, inputs["cotangent"], strict=True)).backward()
    return {"values": data(nodes), "gradients": gradient(nodes)}


# --- training and sampling --------------------------------------------------------------------------------------------


def training(subject: Subject, inputs: Inputs) -> Answer:
    """Losses of the first k steps of the subject's own training, and every parameter after the last of them."""
    model = Model(subject, inputs)
    steps = subject.part("train")(model.weights, model.config, inputs["documents"], inputs["num_steps"])
    losses = [loss for _, loss in islice(steps, inputs["steps"])]
    return {"losses": data(losses)} | {name: data(matrix) for name, matrix in model.weights.items()}


def learning_rate(subject: Subject, inputs: Inputs) -> Answer:
    """The rate that the subject's training hands to each of its k updates; the model does not run."""
    model = Model(subject, inputs)
    rates: list[Any] = []

    def looking_on(_parameters: Any, _m: Any, _v: Any, _step: Any, learning_rate: Any, *_more: Any, **_: Any) -> None:
        rates.append(data(learning_rate))

    def some_loss(*_arguments: Any) -> Any:
        return next(iter(model.weights.values()))[0][0] * 1

    with subject.replaced("adam_update", looking_on), subject.replaced("document_loss", some_loss):
        for _ in subject.part("train")(model.weights, model.config, [inputs["tokens"]], inputs["num_steps"]):
            pass
    if not rates:
        raise Unsupported("the subject's `train` calls no `adam_update`")
    return {"learning_rate": rates}


def samples(subject: Subject, inputs: Inputs) -> Answer:
    """Token lists, drawn one after the other from one stream of random numbers."""
    model, stream = Model(subject, inputs), random.Random(inputs["seed"])  # noqa: S311
    bos = inputs["sizes"]["vocab_size"] - 1
    draw = subject.part("sample")
    drawn = [draw(model.weights, model.config, bos, inputs["temperature"], stream) for _ in range(inputs["samples"])]
    return {"samples": [list(tokens) for tokens in drawn]}


def generation(subject: Subject, inputs: Inputs) -> Answer:
    """What sampling feeds to `gpt` and what it returns, where `gpt` is replaced by a script of certain tokens.

    For each script: the tokens and the positions that were fed, how many keys the cache held then, and the sample.
    """
    sizes, value = inputs["sizes"], subject.part("Value")
    config = call(subject, "Config", **sizes)
    weights, bos = own_parameters(subject, config), sizes["vocab_size"] - 1
    answer: Answer = {name: [] for name in ("tokens fed", "positions fed", "keys held", "samples")}
    for script in inputs["scripts"]:
        fed: list[tuple[int, int, int]] = []

        def scripted(
            _weights: Any,
            _config: Any,
            token: int,
            position: int,
            keys: Any,
            values: Any,
            script: Any = script,
            fed: Any = fed,
        ) -> Any:
            fed.append((token, position, len(keys[0])))
            for layer in (*keys, *values):
                layer.append([])
            certain = script[min(len(fed), len(script)) - 1]
            return [value(1000.0 if i == certain else 0.0) for i in range(sizes["vocab_size"])]

        with subject.replaced("gpt", scripted):
            sample = subject.part("sample")(weights, config, bos, inputs["temperature"], random.Random(0))  # noqa: S311
        for name, column in zip(answer, [*zip(*fed, strict=True), sample], strict=True):
            answer[name].append(list(column))
    return answer


def repeatability(subject: Subject, inputs: Inputs) -> Answer:
    """Whether two forward passes agree to the last bit, and whether they left Python's random numbers alone."""
    model, document = Model(subject, inputs), inputs["tokens"]

    def forward() -> Any:
        keys, values = primed_cache(model)
        return [data(model.gpt(token, at, keys, values)) for at, token in enumerate(document[:-1])]

    random.seed(0)
    before = random.getstate()
    first, second = forward(), forward()
    return {"identical": first == second, "random state untouched": random.getstate() == before}


# --- on the way through the model -------------------------------------------------------------------------------------


def primed_cache(model: Model) -> tuple[list[Any], list[Any]]:
    """Keys and values of one earlier position, all of them 0: attention that leaves itself out has something to see."""
    value, width = model.subject.part("Value"), model.config.n_embd
    keys, values = ([[[value(0.0) for _ in range(width)]] for _ in range(model.layers)] for _ in ("keys", "values"))
    return keys, values


@contextmanager
def watched_linear(model: Model, look: Callable[[str, list[Any]], Any]) -> Iterator[None]:
    """Call `look` with the weights' name and the vector at each `linear`.

    What it returns takes the place of the vector; where that is a tuple, its first item that of the result.
    """
    names = {id(matrix): name for name, matrix in model.weights.items()}
    original = model.subject.part("linear")

    def watching(x: list[Any], w: Any) -> Any:
        instead = look(names.get(id(w), ""), x)
        return instead[0] if isinstance(instead, tuple) else original(x if instead is None else instead, w)

    with model.subject.replaced("linear", watching):
        yield


def activation(subject: Subject, inputs: Inputs) -> Answer:
    """What one layer's perceptron makes of given numbers (4C), handed over as mlp_fc1's, read before mlp_fc2."""
    model, handed = Model(subject, inputs), subject.vector("x", inputs["x"])
    layer = f"layer{inputs['layer']}."
    seen: list[Any] = []

    def look(name: str, x: list[Any]) -> Any:
        if name == f"{layer}mlp_fc2":
            seen.append(x)
        return (list(handed),) if name == f"{layer}mlp_fc1" else None

    with watched_linear(model, look):
        model.gpt(0, 1, *primed_cache(model))
    if not seen:
        raise Unsupported("the subject's perceptron does not pass its activations to `linear` with mlp_fc2")
    return {"y": data(seen[0])}


def norm_calls(subject: Subject, inputs: Inputs) -> Answer:
    """How often `rmsnorm` is called before each layer's attention, before each layer's perceptron, before the head."""
    model = Model(subject, inputs)
    original = subject.part("rmsnorm")
    counts: dict[str, int] = {}
    calls = since = 0

    def counting(x: list[Any]) -> Any:
        nonlocal calls, since
        calls, since = calls + 1, since + 1
        return original(x)

    def look(name: str, _x: list[Any]) -> None:
        nonlocal since
        counts[name] = since
        since = 0

    with subject.replaced("rmsnorm", counting), watched_linear(model, look):
        model.gpt(0, 1, *primed_cache(model))
    wanted = [f"layer{layer}.{name}" for layer in range(model.layers) for name in ("attn_wq", "mlp_fc1")]
    if missing := [name for name in wanted if name not in counts]:
        raise Unsupported(f"the subject calls no `linear` with {', '.join(missing)}")
    attention = [sum(counts.get(f"layer{layer}.attn_w{which}", 0) for which in "qkv") for layer in range(model.layers)]
    return {
        "before attention": attention,
        "before perceptron": [counts[f"layer{layer}.mlp_fc1"] for layer in range(model.layers)],
        "before head": list(counts.values())[-1] + since,
        "in all": calls,
    }


def stream_start(subject: Subject, inputs: Inputs) -> Answer:
    """What the head receives without what attention and perceptrons added to it: T x C, what the stream began with."""
    model, document = Model(subject, inputs), inputs["tokens"]
    rows: list[list[float]] = []
    added: list[list[float]] = []
    received: list[float] = []
    original = subject.part("linear")

    def look(name: str, x: list[Any]) -> Any:
        nonlocal received
        received = data(x)
        if name.endswith(("attn_wo", "mlp_fc2")):
            result = original(x, model.weights[name])
            added.append(data(result))
            return (result,)
        return None

    keys, values = primed_cache(model)
    with watched_linear(model, look):
        for position, token in enumerate(document[:-1]):
            added.clear()
            model.gpt(token, position, keys, values)
            rows.append([total - sum(parts) for total, *parts in zip(received, *added, strict=True)])
    return {"start": rows}


def head(subject: Subject, inputs: Inputs) -> Answer:
    """Logits (V) of a given stream (C), which is handed over at the `linear` with lm_head, or with wte."""
    model, handed = Model(subject, inputs), subject.vector("x", inputs["x"])

    def look(name: str, _x: list[Any]) -> Any:
        return handed if name in ("lm_head", "wte") else None

    with watched_linear(model, look):
        return {"logits": data(model.gpt(0, 1, *primed_cache(model)))}


OBSERVABLES: dict[str, Callable[[Subject, Inputs], Answer]] = {
    "imports": imports,
    "interpreter": interpreter,
    "documents": documents,
    "shared_parameters": shared_parameters,
    "expressions": expressions,
    "training": training,
    "learning_rate": learning_rate,
    "samples": samples,
    "generation": generation,
    "repeatability": repeatability,
    "activation": activation,
    "norm_calls": norm_calls,
    "stream_start": stream_start,
    "head": head,
}
