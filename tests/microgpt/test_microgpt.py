"""The model under test, against formulas, figures worked out by hand, and figures recorded from a run."""

import ast
import math
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable
from itertools import islice, pairwise
from pathlib import Path

import pytest

import microgpt.microgpt as g
from microgpt.microgpt import Value

SOURCE = Path(g.__file__)
ROOT = SOURCE.parents[1]
TINY = g.Config(vocab_size=4, n_embd=4, n_head=2, n_layer=2, block_size=3)


def close(expected: object, rel: float = 1e-12) -> object:
    return pytest.approx(expected, rel=rel, abs=1e-15)


def vector(*numbers: float) -> g.Vector:
    return [Value(number) for number in numbers]


def data(values: g.Vector) -> list[float]:
    return [value.data for value in values]


def python(*arguments: object, hash_seed: int = 0, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, arguments)]
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_importing_prints_nothing_reads_no_data_draws_no_number_and_does_not_train() -> None:
    script = f"""
import argparse, dataclasses, pathlib, random, runpy, sys, time
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
state, start = random.getstate(), time.process_time()
module = runpy.run_path({str(SOURCE)!r}, run_name="imported")
assert time.process_time() - start < 1, "slow"
assert random.getstate() == state, "drew from the global stream"
assert not [path for path in opened if path.endswith(".txt")], opened
assert callable(module["main"])
"""
    result = python("-I", "-S", "-c", script)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_only_the_standard_library_is_imported() -> None:
    nodes = list(ast.walk(ast.parse(SOURCE.read_text(encoding="utf-8"))))
    imported = {alias.name.split(".")[0] for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {"." * node.level + str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    assert {"math", "dataclasses"} <= imported
    assert {name.split(".")[0] for name in imported} <= sys.stdlib_module_names


def test_documents_are_stripped_blank_lines_dropped_and_the_given_stream_shuffles(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes("  ann\n\n\t \nbob\t\r\nann\n mary ann \nzo\u00eb\ncem".encode())
    expected = ["ann", "bob", "ann", "mary ann", "zo\u00eb", "cem"]
    rng, twin = random.Random(7), random.Random(7)
    twin.shuffle(expected)
    assert g.load_documents(path, rng) == expected
    assert rng.getstate() == twin.getstate()


@pytest.mark.parametrize("document", ["", "e", "anna", "o'neill", "zo\u00eb", "\U0001f600 e"])
def test_encoding_by_sorted_characters_between_two_bos_is_undone_by_decoding(document: str) -> None:
    tokenizer = g.Tokenizer(["anna e", "o'neill", "zo\u00eb\U0001f600"])
    tokens, characters = tokenizer.encode(document), sorted("'aeilnoz \u00eb\U0001f600")
    assert (tokenizer.bos, tokenizer.vocab_size) == (len(characters), len(characters) + 1)
    assert tokens == [tokenizer.bos, *map(characters.index, document), tokenizer.bos]
    assert tokenizer.decode(tokens) == tokenizer.decode(tokens[1:-1]) == document


@pytest.mark.parametrize("document", ["x", "annx", "A"])
def test_an_unknown_character_is_a_key_error(document: str) -> None:
    with pytest.raises(KeyError, match=document[-1]):
        g.Tokenizer(["ann"]).encode(document)


def tangled(a: Value, b: Value, c: Value) -> Value:
    shared = a * b + c
    ratio = shared**3 / (b * b + 2)
    logs = (a.exp() + shared**2).log() * shared
    return ratio - logs + (a - c).relu() * shared + 3 * (c - a).relu() - (-ratio * 0.1).exp() / 4


@pytest.mark.parametrize("point", [(0.7, -1.3, 0.4), (-0.6, 0.9, 1.1), (1.5, 0.2, -2.0)])
def test_gradients_agree_with_central_differences(point: tuple[float, float, float]) -> None:
    leaves, h = vector(*point), 1e-6
    tangled(*leaves).backward()
    for i, leaf in enumerate(leaves):
        low, high = (tangled(*vector(*point[:i], point[i] + d, *point[i + 1 :])).data for d in (-h, h))
        assert leaf.grad == pytest.approx((high - low) / (2 * h), rel=1e-7, abs=1e-8)


@pytest.mark.parametrize(
    ("run", "x", "value", "slope"),
    [
        (lambda a: 2 + a, 3, 5, 1),
        (lambda a: 4 * a, 3, 12, 4),
        (lambda a: a / 4, 3, 0.75, 0.25),
        (lambda a: a**-2, 3, 1 / 9, -2 / 27),
        (lambda a: a - a, 3, 0, 0),
        (lambda a: a * a, 3, 9, 6),
        (lambda a: a / a, 3, 1, 0),
        (lambda a: (a * 2) * (a * 3), 3, 54, 36),  # a diamond
        (lambda a: sum([a, a, a]), 3, 9, 3),
        (Value.log, 3, math.log(3), 1 / 3),
        (Value.exp, 3, math.exp(3), math.exp(3)),
        (Value.relu, 5e-324, 5e-324, 1),
        (Value.relu, 0.0, 0, 0),
        (Value.relu, -3, 0, 0),
    ],
)
def test_an_operation_and_its_slope(run: Callable[[Value], Value], x: float, value: float, slope: float) -> None:
    a = Value(x)
    result = run(a)
    result.backward()
    assert (result.data, a.grad) == (close(value), close(slope))
    assert (a.data, result.grad) == (x, 1)


def test_gradients_of_several_backward_passes_add_up() -> None:
    a = Value(3.0)
    square = a * a
    for result in (square, a * 5, square):
        result.backward()
    assert (a.grad, square.grad) == (6 + 5 + 6, 1)


def test_deep_graphs_neither_exhaust_the_stack_nor_take_exponential_time() -> None:
    assert sys.getrecursionlimit() < 20_000
    a = x = Value(2.0)
    for _ in range(20_000):
        x = x + 1
    for _ in range(60):
        x = x + x
    x.backward()
    assert (a.grad, x.data) == (2.0**60, 2.0**60 * 20_002)


@pytest.mark.parametrize("logits", [[0, 0, 0], [1, 2, 3], [1e4, 0, -1e4], [1e4, 1e4], [-1e4, -1e4 - 1], [7]])
def test_softmax_is_a_distribution_even_of_extreme_logits(logits: list[float]) -> None:
    weights = [math.exp(logit - max(logits)) for logit in logits]
    probabilities = data(g.softmax(vector(*logits)))
    assert probabilities == close([weight / sum(weights) for weight in weights])
    assert math.fsum(probabilities) == close(1)


@pytest.mark.parametrize("x", [[3, 4], [1e-3, -2e-3, 0], [0, 0], [-5], [1e6, 1, -1e6]])
def test_rmsnorm_divides_by_the_root_of_the_mean_square_plus_a_hundred_thousandth(x: list[float]) -> None:
    root = math.sqrt(sum(xi * xi for xi in x) / len(x) + 1e-5)
    assert data(g.rmsnorm(vector(*x))) == close([xi / root for xi in x])


def test_linear_multiplies_each_row_and_attention_scales_by_the_root_of_the_head_size() -> None:
    assert data(g.linear(vector(5, 6), [vector(1, 2), vector(3, 4), vector(-1, 0)])) == [17, 39, -5]
    # q k = 2 log 3 and 0, over sqrt(4): weights 3/4 and 1/4.
    q, keys = vector(2, 0, 0, 0), [vector(math.log(3), 9, 9, 9), vector(0, -9, 9, 0)]
    assert data(g.attend(q, keys, [vector(4, 0, 8, 1), vector(0, 4, 0, 1)])) == close([3, 1, 6, 1])


@pytest.mark.parametrize(
    "mismatch",
    [
        lambda: g.linear(vector(5, 6), [vector(1, 2), vector(1)]),
        lambda: g.linear(vector(5, 6), [vector(1, 2, 3)]),
        lambda: g.attend(vector(1), [vector(1), vector(2)], [vector(1)]),
        lambda: g.attend(vector(1), [vector(1, 2)], [vector(1)]),
    ],
)
def test_lengths_that_do_not_match_are_an_error(mismatch: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"zip\(\) argument 2 is"):
        mismatch()


@pytest.mark.parametrize(
    ("config", "count"), [(g.Config(27), 4192), (g.Config(5, 8, 2, 0, 7), 136), (g.Config(5, 8, 2, 2, 7), 1672)]
)
def test_parameters_are_drawn_from_the_given_stream_in_the_order_of_their_names(config: g.Config, count: int) -> None:
    v, c, b = config.vocab_size, config.n_embd, config.block_size
    shapes = {"wte": (v, c), "wpe": (b, c), "lm_head": (v, c)}
    for layer in range(config.n_layer):
        shapes |= {f"layer{layer}.attn_w{letter}": (c, c) for letter in "qkvo"}
        shapes |= {f"layer{layer}.mlp_fc1": (4 * c, c), f"layer{layer}.mlp_fc2": (c, 4 * c)}
    rng, twin = random.Random(3), random.Random(3)
    drawn = [(name, [data(row) for row in matrix]) for name, matrix in g.init_state_dict(config, rng).items()]
    assert drawn == [(k, [[twin.gauss(0, 0.08) for _ in range(n)] for _ in range(m)]) for k, (m, n) in shapes.items()]
    assert rng.getstate() == twin.getstate()
    parameters = data(g.flatten(g.init_state_dict(config, random.Random(3))))
    assert parameters == [number for _, matrix in drawn for row in matrix for number in row]
    assert len(parameters) == count


def test_each_call_gives_v_logits_and_one_more_cached_position_in_every_layer() -> None:
    state_dict = g.init_state_dict(TINY, random.Random(0))
    keys, values = g.empty_cache(TINY)
    for pos_id in range(TINY.block_size):
        assert len(g.gpt(state_dict, TINY, 1, pos_id, keys, values)) == TINY.vocab_size
        assert [len(layer) for layer in keys + values] == [pos_id + 1] * 4
    assert all(len(cached) == TINY.n_embd for layer in keys + values for cached in layer)
    with pytest.raises(IndexError):
        g.gpt(state_dict, TINY, 1, TINY.block_size, keys, values)


def test_gpt_of_width_one_agrees_with_the_formulas_written_out_in_plain_numbers() -> None:
    config = g.Config(vocab_size=2, n_embd=1, n_head=1, n_layer=1, block_size=2)
    state_dict = g.init_state_dict(config, random.Random(5))
    for value in g.flatten(state_dict):
        value.data *= 20
    w = {name: [data(row) for row in matrix] for name, matrix in state_dict.items()}
    wq, wk, wv, wo = (w[f"layer0.attn_w{letter}"][0][0] for letter in "qkvo")

    def norm(x: float) -> float:
        return x / math.sqrt(x * x + 1e-5)

    (cache_keys, cache_values), ks, vs = g.empty_cache(config), [], []
    for pos_id, token_id in enumerate([1, 0]):
        x = norm(w["wte"][token_id][0] + w["wpe"][pos_id][0])
        ks.append(wk * norm(x))
        vs.append(wv * norm(x))
        weights = [math.exp(wq * norm(x) * k) for k in ks]
        x += wo * sum(weight * v for weight, v in zip(weights, vs, strict=True)) / sum(weights)
        hidden = [max(0.0, row[0] * norm(x)) for row in w["layer0.mlp_fc1"]]
        x += sum(a * b for a, b in zip(w["layer0.mlp_fc2"][0], hidden, strict=True))
        logits = g.gpt(state_dict, config, token_id, pos_id, cache_keys, cache_values)
        assert data(logits) == close([row[0] * x for row in w["lm_head"]])


@pytest.mark.parametrize("tokens", [[3, 3], [3, 0, 3], [3, 0, 1, 3]])
def test_document_loss_is_the_mean_of_minus_log_p(tokens: list[int]) -> None:
    state_dict = g.init_state_dict(TINY, random.Random(1))
    (keys, values), losses = g.empty_cache(TINY), []
    for pos_id, (token, following) in enumerate(pairwise(tokens)):
        logits = data(g.gpt(state_dict, TINY, token, pos_id, keys, values))
        losses.append(math.log(sum(math.exp(logit) for logit in logits)) - logits[following])
    assert g.document_loss(state_dict, TINY, tokens).data == close(sum(losses) / len(losses))


def test_a_document_longer_than_the_block_is_cut_at_the_block() -> None:
    state_dict = g.init_state_dict(TINY, random.Random(1))
    documents = [3, 0, 1, 2, 0, 1, 3], [3, 0, 1, 2], [3, 0, 1]
    full, cut, shorter = (g.document_loss(state_dict, TINY, tokens).data for tokens in documents)
    assert full == cut != shorter


def test_the_first_adam_step_is_the_rate_times_g_over_abs_g_plus_eps() -> None:
    gradients = [0.5, -3.0, 1e-8, -1e-10, 1e5, 0.0]
    parameters = vector(*[0.0] * 6)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    g.adam_update(parameters, [0.0] * 6, [0.0] * 6, 0, 0.01)
    assert data(parameters) == close([-0.01 * gradient / (abs(gradient) + 1e-8) for gradient in gradients], 1e-9)
    assert [parameter.grad for parameter in parameters] == [0.0] * 6


def test_two_adam_steps_by_hand() -> None:
    parameter, m, v = Value(1.0), [0.0], [0.0]
    for step, gradient in enumerate([2.0, -1.0]):
        parameter.grad = gradient
        g.adam_update([parameter], m, v, step, 0.1)
    assert (m, v) == (close([0.85 * 0.3 - 0.15]), close([0.99 * 0.04 + 0.01]))
    second = 0.1 * (0.105 / 0.2775) / (math.sqrt(0.0496 / 0.0199) + 1e-8)
    assert parameter.data == close(1 - 0.1 * 2 / (2 + 1e-8) - second)


@pytest.mark.parametrize(("step", "of", "rate"), [(0, 1000, 0.01), (250, 1000, 0.0075), (999, 1000, 1e-5)])
def test_the_learning_rate_falls_in_a_line_to_its_last_nth(step: int, of: int, rate: float) -> None:
    assert g.learning_rate_at(step, of) == close(rate)


def test_training_takes_the_documents_in_turn_and_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[int]] = []
    monkeypatch.setattr(g, "document_loss", lambda state, _config, tokens: seen.append(tokens) or state["w"][0][0] * 2)
    steps = list(g.train({"w": [vector(1)]}, TINY, [[3, 0, 3], [3, 1, 3]], 5))
    assert seen == [[3, 0, 3], [3, 1, 3]] * 2 + [[3, 0, 3]]
    # A gradient of 2 throughout: every step is the rate itself, 0.01 (1 - step/5), and doubled in the loss.
    expected = [2.0, 1.98, 1.964, 1.952, 1.944]
    assert steps == [(i, pytest.approx(loss, abs=1e-8)) for i, loss in enumerate(expected)]


@pytest.mark.parametrize("script", [[3], [1, 0, 3], [1, 0, 2], [2, 2, 2, 2]])
def test_a_sample_ends_at_bos_or_at_the_block(monkeypatch: pytest.MonkeyPatch, script: list[int]) -> None:
    class Scripted(random.Random):
        def choices(self, population: range, weights: list[float]) -> list[int]:  # type: ignore[override]
            assert (list(population), weights) == ([0, 1, 2, 3], close(data(g.softmax(vector(2, 4, 6, 0)))))
            return [script[len(calls) - 1]]

    calls: list[tuple[int, int]] = []
    monkeypatch.setattr(g, "gpt", lambda _s, _c, *call: calls.append(call[:2]) or vector(1, 2, 3, 0))
    assert g.sample({}, TINY, 3, 0.5, Scripted()) == [token for token in script[:3] if token != 3]
    assert calls == [(token, pos_id) for pos_id, token in enumerate([3, *script][: min(len(script), 3)])]


def test_samples_follow_the_seed_and_nothing_else() -> None:
    config = g.Config(vocab_size=27, n_embd=4)
    state_dict = g.init_state_dict(config, random.Random(0))
    first, again, other = (g.sample(state_dict, config, 26, 0.5, random.Random(seed)) for seed in (1, 1, 2))
    assert first == again != other


GOLDEN_NAMES = """abigail bartholomew chidi dmitri eleanor fatima gudrun hiroshi ingrid joaquin kwame lakshmi mei niamh
oluwaseun priya quentin rosalind svetlana tariq ursula vikram wilhelmina xiomara yusuf zoltan anne-charlotte-amelie
juan-sebastian-alejandro bo li"""


def run(path: Path, num_steps: int, num_samples: int) -> tuple[list[str], list[float], float, list[str]]:
    rng = random.Random(42)
    documents = g.load_documents(path, rng)
    tokenizer = g.Tokenizer(documents)
    config = g.Config(tokenizer.vocab_size)
    state_dict = g.init_state_dict(config, rng)
    training = g.train(state_dict, config, [tokenizer.encode(document) for document in documents], num_steps)
    losses = [loss for _, loss in islice(training, 5)]
    samples = [tokenizer.decode(g.sample(state_dict, config, tokenizer.bos, 0.5, rng)) for _ in range(num_samples)]
    return documents, losses, math.fsum(data(g.flatten(state_dict))), samples


def test_a_recorded_run_comes_out_the_same(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text(GOLDEN_NAMES.replace(" ", "\n"), encoding="utf-8")
    documents, losses, total, samples = run(path, 5, 3)
    assert documents[:5] == ["tariq", "oluwaseun", "kwame", "anne-charlotte-amelie", "wilhelmina"]
    recorded = [3.3330382735454216, 3.323759819607611, 3.20605538442624, 3.4453199951559372, 3.415328139260778]
    assert (losses, total) == (close(recorded), close(3.484593238118602))
    assert samples == ["tmrujqnmqcunqnkk", "tyiady", "kpsdtgppsylhqedw"]


def test_module_and_file_train_on_the_default_names_and_follow_the_seed_alone() -> None:
    options = ["--steps", 2, "--samples", 1, "--seed"]
    module = python("-m", "microgpt", *options, 1)
    assert (module.returncode, module.stderr) == (0, "")
    assert module.stdout == python("-m", "microgpt", *options, 1, hash_seed=1).stdout
    assert module.stdout == python("microgpt/microgpt.py", *options, 1, "--data", g.NAMES).stdout
    assert module.stdout != python("microgpt/microgpt.py", *options, 2).stdout != ""
    count = len(g.NAMES.read_text(encoding="ascii").split())
    pattern = rf"documents: {count}, vocabulary: 27, parameters: 4192\n(step [12] / 2 \| loss \d\.\d{{4}}\n){{2}}"
    assert re.fullmatch(pattern + r"sample 1: [a-z]{0,16}\n", module.stdout)


def test_no_steps_leave_the_header_and_the_samples_wherever_the_file_runs(tmp_path: Path) -> None:
    result = python(SOURCE, "--steps", 0, "--samples", 1, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert re.fullmatch(r"documents: \d+, vocabulary: 27, parameters: 4192\nsample 1: [a-z]*\n", result.stdout)


def test_the_defaults_are_the_recipe() -> None:
    assert list(vars(g.parse_arguments([])).values()) == [g.NAMES, 1000, 20, 42, 0.5]


WRONG_OPTIONS = ["--steps -1", "--samples -1", "--temperature 0", "--temperature nan", "--temperature inf"]
WRONG_FILES = ["missing.txt", "empty.txt", "blank.txt", "binary.txt", "."]


@pytest.mark.parametrize("command", ["-m microgpt", "microgpt/microgpt.py"])
@pytest.mark.parametrize("options", [*WRONG_OPTIONS, *(f"--data {name}" for name in WRONG_FILES)])
def test_a_wrong_option_or_file_is_an_error_without_traceback(tmp_path: Path, command: str, options: str) -> None:
    for name, content in [("empty", b""), ("blank", b"\n \n\t\n"), ("binary", bytes(range(256)))]:
        (tmp_path / f"{name}.txt").write_bytes(content)
    name, value = options.split()
    result = python(*command.split(), name, tmp_path / value if name == "--data" else value)
    *above, last = result.stderr.splitlines()
    assert (result.returncode, result.stdout) == ((1 if name == "--data" else 2), "")
    assert last.startswith("microgpt: ")
    assert "Traceback" not in result.stderr
    assert name != "--data" or above == []


@pytest.mark.parametrize("options", WRONG_OPTIONS)
def test_a_wrong_option_is_told_in_one_line(options: str) -> None:
    assert python("-m", "microgpt", *options.split()).stderr.count("\n") == 1


def test_the_names_are_many_distinct_lower_case_and_not_sorted() -> None:
    *lines, end = g.NAMES.read_bytes().decode("ascii").split("\n")
    assert len(lines) == len(set(lines)) >= 1300
    assert [line for line in lines if not re.fullmatch("[a-z]{2,12}", line)] == []
    assert (end, len(set("".join(lines)))) == ("", 26)
    assert lines != sorted(lines)
