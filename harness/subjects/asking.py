"""How each observable is asked of a Python microgpt: its functions one by one, its model, its optimizer.

It runs in the subject's process and needs the standard library alone.

Letters: T positions, C width, D head size, L layers, V vocabulary, n parameters, k steps.
"""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from harness.subjects.driving import (
    Answer,
    Inputs,
    Model,
    Subject,
    Unsupported,
    call,
    data,
    flat,
    gradient,
    own_parameters,
    shape,
)


def tokens(subject: Subject, inputs: Inputs) -> Answer:
    """Token ids of each document, by a tokenizer made from all of them, and the text that they are decoded to."""
    tokenizer = subject.part("Tokenizer")(inputs["documents"])
    answer = {f"document {i}": tokenizer.encode(text) for i, text in enumerate(inputs["documents"])}
    answer |= {f"text {i}": tokenizer.decode(answer[f"document {i}"]) for i in range(len(inputs["documents"]))}
    return answer | {"bos": tokenizer.bos, "vocab_size": tokenizer.vocab_size}


def rms_norm(subject: Subject, inputs: Inputs) -> Answer:
    """The norm of one vector (C)."""
    return {"y": data(subject.part("rmsnorm")(subject.vector("x", inputs["x"])))}


def softmax(subject: Subject, inputs: Inputs) -> Answer:
    """Probabilities from scores (n)."""
    return {"y": data(subject.part("softmax")(subject.vector("x", inputs["x"])))}


def linear(subject: Subject, inputs: Inputs) -> Answer:
    """A matrix (n_out x n_in) times a vector."""
    return {"y": data(subject.part("linear")(subject.vector("x", inputs["x"]), subject.matrix("w", inputs["w"])))}


def logits(subject: Subject, inputs: Inputs) -> Answer:
    """Logits (T x V) of one document by the subject's own loop, or with positions fed to `gpt` in another order."""
    model, document = Model(subject, inputs), inputs["tokens"]
    if inputs.get("order", "forward") == "forward":
        return {"logits": data(model.document(document, inputs.get("attention", "cache"))[1])}
    keys, values = model.empty_cache()
    rows = {at: model.gpt(document[at], at, keys, values) for at in reversed(range(len(document) - 1))}
    return {"logits": data([rows[at] for at in sorted(rows)])}


def dependencies(subject: Subject, inputs: Inputs) -> Answer:
    """The output that the trace is read for."""
    return rms_norm(subject, inputs) if inputs["output"] == "rms_norm" else logits(subject, inputs)


def gradients(subject: Subject, inputs: Inputs) -> Answer:
    """Loss of each document, and the gradient of their sum by every parameter; or of a component by its input."""
    component = inputs["component"]
    if component != "loss":
        x = subject.vector("x", inputs["x"])
        more = (subject.matrix("w", inputs["w"]),) if component == "linear" else ()
        y = subject.part("rmsnorm" if component == "rms_norm" else component)(x, *more)
        sum(yi * ci for yi, ci in zip(y, inputs["cotangent"], strict=True)).backward()
        answer = {"x": gradient(x)}
        return answer | ({"w": gradient(more[0])} if more else {})
    model = Model(subject, inputs)
    losses = []
    for document in inputs["documents"]:
        loss, _ = model.document(document, inputs.get("attention", "cache"))
        loss.backward()
        losses.append(loss)
    return {"loss": data(losses)} | {name: gradient(matrix) for name, matrix in model.weights.items()}


def attention(subject: Subject, inputs: Inputs) -> Answer:
    """What every layer's attention makes of given queries, keys and values (L x T x C), and the gradients by them.

    They are handed to the subject's own attention code at the three `linear` calls whose results it uses, and its
    result is read at the fourth; everything else in the model runs on, unobserved.
    """
    model = Model(subject, inputs)
    given = {name: [subject.matrix(f"{name}[{i}]", rows) for i, rows in enumerate(inputs[name])] for name in "qkv"}
    part_of = {
        id(model.weights[f"layer{layer}.attn_w{name}"]): (name, layer)
        for layer in range(model.layers)
        for name in "qkvo"
    }
    output: list[list[Any]] = [[] for _ in range(model.layers)]
    original = subject.part("linear")
    position = 0

    def handing_over(x: list[Any], w: Any) -> Any:
        name, layer = part_of.get(id(w), (None, 0))
        if name == "o":
            output[layer].append(x)
        elif name is not None:
            return list(given[name][layer][position])
        return original(x, w)

    keys, values = model.empty_cache()
    with subject.replaced("linear", handing_over):
        for position in range(len(inputs["q"][0])):
            model.gpt(inputs["tokens"][position], position, keys, values)
    if any(len(rows) != len(inputs["q"][0]) for rows in output):
        raise Unsupported("the subject's attention does not pass its result to `linear` with attn_wo")
    answer = {"output": data(output)}
    if "cotangent" in inputs:
        pairs = zip(flat(output), flat(inputs["cotangent"]), strict=True)
        sum(o * c for o, c in pairs).backward()
        answer |= {f"{name} gradient": gradient(given[name]) for name in "qkv"}
    return answer


def attention_widths(subject: Subject, inputs: Inputs) -> Answer:
    """How many scores each softmax inside `gpt` receives: T x (L H), in the order of the calls."""
    model, rows, counts = Model(subject, inputs), [], []
    original = subject.part("softmax")
    inside = False

    def counting(scores: list[Any]) -> Any:
        if inside:
            counts.append(len(scores))
        return original(scores)

    gpt = subject.part("gpt")

    def enclosing(*arguments: Any) -> Any:
        nonlocal inside
        inside = True
        try:
            return gpt(*arguments)
        finally:
            inside = False
            rows.append(list(counts))
            counts.clear()

    with subject.replaced("softmax", counting), subject.replaced("gpt", enclosing):
        _as_far_as_it_goes(lambda: model.loss(inputs["tokens"]), rows)
    # A softmax that was never reached has received no scores.
    positions, softmaxes = len(inputs["tokens"]) - 1, model.layers * inputs["sizes"]["n_head"]
    rows += [[] for _ in range(positions - len(rows))]
    return {"scores": [row + [0] * (softmaxes - len(row)) for row in rows]}


def cache_lengths(subject: Subject, inputs: Inputs) -> Answer:
    """How many keys and values each layer's cache holds after each position, document by document: T x L."""
    model = Model(subject, inputs)
    answer: Answer = {}
    for i, document in enumerate(inputs["documents"]):
        keys_held: list[Any] = []
        values_held: list[Any] = []

        def look(_logits: Any, keys: Any, values: Any, into: Any = (keys_held, values_held)) -> None:
            into[0].append([len(layer) for layer in keys])
            into[1].append([len(layer) for layer in values])

        with model.watched(look):
            _as_far_as_it_goes(partial(model.loss, document), keys_held)
        answer |= {f"keys of document {i}": keys_held, f"values of document {i}": values_held}
    return answer


def _as_far_as_it_goes(run: Callable[[], Any], seen: list[Any]) -> None:
    """Run; if it fails after something was seen, what was seen is the answer: it will be found too short."""
    try:
        run()
    except Exception:
        if not any(seen):
            raise


def past_gradients(subject: Subject, inputs: Inputs) -> Answer:
    """Largest gradient of the last position's loss alone by each token's embedding (T): it flows through the cache."""
    model, document = Model(subject, inputs), inputs["tokens"]
    last = model.document(document)[1][-1]
    (-subject.part("softmax")(last)[document[-1]].log()).backward()
    rows = [model.weights["wte"][token] for token in document[: len(document) - 1]]
    return {"gradient": [max(abs(element.grad) for element in row) for row in rows]}


def adam(subject: Subject, inputs: Inputs) -> Answer:
    """Parameters and both moments (k x n) after each of k updates for given gradients.

    Gradients are added to what the last update left in their place, as backward does.
    """
    parameters = subject.vector("parameter", inputs["parameters"])
    number = subject.number
    m = [number(f"m[{i}]", x) for i, x in enumerate(inputs["m"])]
    v = [number(f"v[{i}]", x) for i, x in enumerate(inputs["v"])]
    hyperparameters = {name: number(name, x) for name, x in inputs.get("hyperparameters", {}).items()}
    steps: Answer = {"parameters": [], "m": [], "v": []}
    for k, (row, rate) in enumerate(zip(inputs["gradients"], inputs["learning_rates"], strict=True)):
        for i, (parameter, slope) in enumerate(zip(parameters, row, strict=True)):
            parameter.grad += number(f"gradient[{k}][{i}]", slope)
        step = number("step", inputs["first_step"]) + k
        subject.part("adam_update")(parameters, m, v, step, number("learning_rate", rate), **hyperparameters)
        for name, state in (("parameters", [p.data for p in parameters]), ("m", m), ("v", v)):
            steps[name].append(data(state))
    return steps


def first_update(subject: Subject, inputs: Inputs) -> Answer:
    """What the first update (n) adds to parameters of 0, from moments of 0."""
    number, value = subject.number, subject.part("Value")
    parameters = [value(0.0) for _ in inputs["parameters"]]
    for i, (parameter, slope) in enumerate(zip(parameters, inputs["gradients"][0], strict=True)):
        parameter.grad = number(f"gradient[{i}]", slope)
    hyperparameters = {name: number(name, x) for name, x in inputs.get("hyperparameters", {}).items()}
    m, v = ([0.0] * len(parameters) for _ in "mv")
    rate = number("learning_rate", inputs["learning_rates"][0])
    subject.part("adam_update")(parameters, m, v, 0, rate, **hyperparameters)
    return {"update": [data(parameter) for parameter in parameters]}


def optimizer_start(subject: Subject, inputs: Inputs) -> Answer:
    """The moments (n) and the step number with which the subject's training makes its first update."""
    model = Model(subject, inputs)
    seen: Answer = {}
    original = subject.part("adam_update")

    def looking_on(parameters: Any, m: Any, v: Any, step: Any, *more: Any) -> None:
        if not seen:
            seen.update(m=data(m), v=data(v), step=data(step))
        original(parameters, m, v, step, *more)

    def some_loss(*_arguments: Any) -> Any:  # the model is not on trial
        return next(iter(model.weights.values()))[0][0] * 1

    with subject.replaced("adam_update", looking_on), subject.replaced("document_loss", some_loss):
        next(iter(subject.part("train")(model.weights, model.config, [inputs["tokens"]], 1)))
    return seen


def parameters(subject: Subject, inputs: Inputs) -> Answer:
    """Shapes of the parameters by name, and how many of them are vectors (fewer than two axes longer than one)."""
    table = own_parameters(subject, call(subject, "Config", **inputs["sizes"]))
    shapes = {name: shape(matrix) for name, matrix in table.items()}
    vectors = sum(sum(axis > 1 for axis in shape) < 2 for shape in shapes.values())
    return shapes | {"vectors": vectors}


def hyperparameters(subject: Subject, _inputs: Inputs) -> Answer:
    """The settings that the subject defines at module level, under their common names."""
    names = {
        "learning_rate": "LEARNING_RATE",
        "beta1": "BETA1",
        "beta2": "BETA2",
        "eps_adam": "EPS_ADAM",
        "num_steps": "NUM_STEPS",
        "temperature": "TEMPERATURE",
    }
    found = {name: subject.namespace[own] for name, own in names.items() if own in subject.namespace}
    sizes = inspect.signature(subject.part("Config")).parameters
    defaults = {n: sizes[n].default for n in ("n_embd", "n_head", "n_layer", "block_size") if n in sizes}
    return found | {name: size for name, size in defaults.items() if isinstance(size, int)}


OBSERVABLES: dict[str, Callable[[Subject, Inputs], Answer]] = {
    "tokens": tokens,
    "rms_norm": rms_norm,
    "softmax": softmax,
    "linear": linear,
    "attention": attention,
    "logits": logits,
    "dependencies": dependencies,
    "gradients": gradients,
    "attention_widths": attention_widths,
    "cache_lengths": cache_lengths,
    "past_gradients": past_gradients,
    "adam": adam,
    "first_update": first_update,
    "optimizer_start": optimizer_start,
    "parameters": parameters,
    "hyperparameters": hyperparameters,
}
