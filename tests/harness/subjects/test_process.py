"""Subjects that raise, hang, die, print, eat and run away: it costs them an error, and nothing else."""

import contextlib
import os
import textwrap
import threading
import time
from pathlib import Path

import pytest

from harness.subjects import process
from harness.subjects.process import MAX_LOSSES, Limits, ProcessSubject, Source

OWN = (Path(__file__).resolve().parents[3] / "microgpt" / "microgpt.py").read_text(encoding="utf-8")
VALUE = "class Value:\n    def __init__(self, data):\n        self.data, self.grad = data, 0.0\n"
X = {"x": [1.5, -2.0, 0.5]}
GOOD = Source("good", "good.py", f"{VALUE}def rmsnorm(x):\n    return [2 * xi.data for xi in x]\n")
DOUBLED = {"y": [3.0, -4.0, 1.0]}
SHORT, USUAL = Limits(1.0, 1024), Limits(15.0, 1024)


def source(text, name="bad"):
    return Source(name, f"{name}.py", text)


def doing(body, name="bad"):
    """A subject whose norm does something."""
    imports = "import math, os, subprocess, sys, threading, time\n"
    return source(f"{VALUE}{imports}def rmsnorm(x):\n{textwrap.indent(textwrap.dedent(body), '    ')}\n", name)


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """Where the processes' folders are made."""
    monkeypatch.setattr(process.tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def start(scratch):
    """Begins subjects, closes them afterwards, and looks whether their folders are gone."""
    with contextlib.ExitStack() as stack:

        def begin(subject=GOOD, limits=USUAL):
            begun = ProcessSubject(subject, limits)
            stack.callback(begun.close)
            return begun

        yield begin
    assert soon(lambda: not list(scratch.iterdir()))


def soon(holds, seconds=5.0):
    """Whether something comes to hold."""
    end = time.monotonic() + seconds
    while not (held := holds()) and time.monotonic() < end:
        time.sleep(0.01)
    return held


def alive(pid):
    """Whether a process runs; one that is dead and not yet collected does not."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        os.kill(pid, 0)
        return not stat.parent.parent.joinpath("self").exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def within(seconds, wait):
    """What a call returns; TimeoutError where it does not in time."""
    answer = []
    thread = threading.Thread(target=lambda: answer.append(wait()), daemon=True)
    thread.start()
    thread.join(seconds)
    if not answer:
        raise TimeoutError
    return answer[0]


# --- errors -----------------------------------------------------------------------------------------------------------

RAISING = {
    "at import": (source("x = 1\nraise RuntimeError('no')"), "bad.py:2: RuntimeError: no"),
    "by its arithmetic, at import": (source("1 / 0"), "bad.py:1: ZeroDivisionError: division by zero"),
    "in a function": (doing("raise KeyError('no')"), "bad.py:6: KeyError: 'no'"),
    "deep in a library": (doing("\nmath.exp('x')"), "bad.py:7: TypeError: must be real number, not str"),
    "without a word": (doing("raise RuntimeError"), "bad.py:6: RuntimeError: "),
    "by leaving": (doing("sys.exit('bye')"), "bad.py:6: SystemExit: bye"),
    "by leaving, at import": (source("raise SystemExit(0)"), "bad.py:1: SystemExit: 0"),
    "as if interrupted": (doing("raise KeyboardInterrupt"), "bad.py:6: KeyboardInterrupt: "),
    "by asking the user": (doing("return [float(input())]"), "bad.py:6: EOFError: EOF when reading a line"),
    "by its syntax": (source("x = 1\ny = = 2\n"), "bad.py:2: SyntaxError: invalid syntax"),
    "by an open bracket": (source("\n\nx = (1,\n"), "bad.py:3: SyntaxError: '(' was never closed"),
    "by its indentation": (source("def f():\nreturn 1\n"), "bad.py:2: IndentationError: "),
    "by its parameters": (
        source(VALUE + "def rmsnorm(x, eps):\n    return x"),
        "TypeError: rmsnorm() missing 1 required",
    ),
    "by importing a package": (source("import numpy"), "bad.py:1: ModuleNotFoundError: No module named 'numpy'"),
    "by importing the harness": (source("import harness"), "bad.py:1: ModuleNotFoundError: No module named 'harness'"),
    "by importing the worker": (source("import driving"), "bad.py:1: ModuleNotFoundError: No module named 'driving'"),
    "by an answer that is lazy": (doing("return (xi for xi in x)"), "TypeError: the subject answered with generator"),
    "by an answer of its own": (doing("return [object()]"), "TypeError: the subject answered with object"),
    "by eating memory": (
        doing("eaten = []\nwhile True:\n    eaten.append(bytearray(1 << 26))"),
        "bad.py:8: MemoryError",
    ),
    "by an answer that JSON has not": (doing("return [10**5000]"), "ValueError: Exceeds the limit (4300 digits)"),
    "by what it says of it": (
        doing("class E(Exception):\n    def __str__(self):\n        return 1 / 0\nraise E"),
        "bad.py:9: E: its message cannot be told",
    ),
}


@pytest.mark.parametrize(("bad", "error"), RAISING.values(), ids=RAISING)
def test_what_a_subject_raises_is_its_error_with_its_place_and_others_answer(bad, error, start):
    subject = start()
    first, wrong, last = (subject.ask("rms_norm", X, "float64", each) for each in (GOOD, bad, GOOD))
    assert wrong().error.startswith(error)
    assert (wrong().arrays, wrong().skipped) == ({}, "")
    assert wrong().arithmetic == ("ZeroDivisionError" in error)
    assert first() == last()
    assert last().arrays == DOUBLED


def test_a_null_byte_is_an_error_of_the_file(start):
    assert start(source("x = 1\0")).ask("rms_norm", X)().error.startswith("bad.py")


@pytest.mark.parametrize(
    "body", ["return [math.sqrt(-1.0)]", "return [10.0 ** 400]", "return [math.exp(1e9)]", "1 / 0"]
)
@pytest.mark.parametrize("reading", ["float64", "digits"])
def test_an_error_of_arithmetic_is_known_as_one(body, reading, start):
    found = start(doing(body)).ask("rms_norm", X, reading)()
    assert found.arithmetic
    assert found.error.startswith("bad.py:6: ")


@pytest.mark.parametrize(
    ("answer", "arrays"),
    [
        ("[math.nan, math.inf, -math.inf]", ["nan", "inf", "-inf"]),
        ("[1j, 1.0]", ["nan", 1.0]),
        ("[None, 'one']", [None, "one"]),
        ("[[1.0], [2.0, 3.0]]", [[1.0], [2.0, 3.0]]),
        ("None", None),
        ("x[0].data", 1.5),
        ("x", X["x"]),
        ("(1, 2)", [1, 2]),
        ("[]", []),
    ],
)
def test_an_odd_answer_is_an_answer_and_is_left_to_the_comparison(answer, arrays, start):
    found = start(doing(f"return {answer}")).ask("rms_norm", X)()
    assert (found.error, found.arrays) == ("", {"y": arrays})


LESS = OWN.replace("self, x: Vector", "").replace("def init_state_dict", "def begin")
MODEL = {"sizes": {"vocab_size": 4, "n_embd": 4, "n_head": 2, "n_layer": 1, "block_size": 4}, "tokens": [3, 0, 1]}


@pytest.mark.parametrize(
    ("text", "observable", "given", "reason"),
    [
        (VALUE, "rms_norm", X, "the subject defines no 'rmsnorm' at module level"),
        ("def rmsnorm(x):\n    return x", "rms_norm", X, "the subject defines no 'Value' at module level"),
        (LESS, "logits", {**MODEL, "weights": {}}, "the subject defines no 'init_state_dict' at module level"),
        (
            OWN,
            "logits",
            {**MODEL, "weights": {"wte": [[0.0]]}},
            "the subject's parameters are not those of the probe: ",
        ),
        (OWN.replace("    n_head:", "    heads:"), "parameters", MODEL, "the subject's 'Config' does not take n_head"),
    ],
)
def test_what_a_subject_lacks_is_a_skip_with_its_reason(text, observable, given, reason, start):
    found = start(source(text)).ask(observable, given)()
    assert found.skipped.startswith(reason)
    assert (found.error, found.arrays) == ("", {})


# --- losses -----------------------------------------------------------------------------------------------------------

NONSENSE = "for fd in range(3, 64):\n    try:\n        os.write(fd, b'[]\\n')\n    except OSError:\n        pass"
LOSING = {
    "leaves at once": ("os._exit(7)", "the subject's process ended with exit code 7"),
    "is killed": ("os.kill(os.getpid(), 9)", "the subject's process ended by signal SIGKILL"),
    "crashes": ("os.abort()", "the subject's process ended by signal SIGABRT"),
    "closes all files": ("os.closerange(0, 64)\nreturn [1.0]", "the subject's process ended with exit code "),
    "recurses in C": (
        "class A:\n    def __iter__(self):\n        return iter(sorted([A()], key=list))\nlist(A())",
        ("the subject's process ended by signal SIGSEGV", "bad.py:8: RecursionError"),  # it depends on Python's release
    ),
    "takes functions away": ("import builtins\ndel builtins.len, builtins.isinstance\nreturn [1.0]", "the subject's "),
    "talks nonsense": (NONSENSE, "the subject's process wrote something that is no answer: b'[]"),
}


@pytest.mark.parametrize(("body", "error"), LOSING.values(), ids=LOSING)
def test_a_subject_that_is_lost_costs_itself_an_error_and_a_new_process_answers(body, error, start):
    subject = start()
    asked = (GOOD, doing(body), GOOD)
    first, wrong, last = (subject.ask("rms_norm", X, "float64", each) for each in asked)
    assert wrong().error.startswith(error)
    assert (wrong().arrays, wrong().arithmetic) == ({}, False)
    assert first() == last()
    assert last().arrays == DOUBLED


@pytest.mark.parametrize(
    "bad", [source("while True:\n    pass"), doing("time.sleep(60)")], ids=["computing", "waiting"]
)
def test_a_subject_that_hangs_is_given_up_and_a_new_process_answers(bad, start):
    subject = start(GOOD, SHORT)
    assert subject.ask("rms_norm", X, "float64", bad)().error.startswith("no answer within 1 s: the subject hangs")
    assert subject.ask("rms_norm", X)().arrays == DOUBLED


def test_a_recursion_without_end_is_named(start):
    found = start(doing("return rmsnorm(x)"), Limits(3.0, 2048)).ask("rms_norm", X)()
    assert found.error.startswith("bad.py:6: RecursionError")


def test_a_subject_is_lost_three_times_and_then_not_asked_any_more(start):
    bad, subject = doing("os._exit(3)"), start()
    errors = [subject.ask("rms_norm", X, "float64", bad)().error for _ in range(MAX_LOSSES)]
    assert (MAX_LOSSES, set(errors)) == (3, {"the subject's process ended with exit code 3"})
    began = time.monotonic()
    for ask in (bad, GOOD):
        found = subject.ask("rms_norm", X, "float64", ask)()
        assert found.error == "not asked any more: the subject's process ended with exit code 3"
    assert time.monotonic() - began < 1.0


@pytest.mark.parametrize(
    ("message", "arithmetic"),
    [
        ("math domain error", True),
        ("math range error", True),
        ("expected a positive input, got -1.0", True),
        ("expected a positive input", True),
        ("expected a nonnegative input, got -1.0", True),
        ("expected argument value > -1, got -2.0", True),
        ("expected a list", False),
        ("no math domain error", False),
    ],
)
def test_an_error_of_arithmetic_is_known_as_one_whatever_a_release_of_python_says(message, arithmetic, start):
    found = start(doing(f"raise ValueError({message!r})")).ask("rms_norm", X)()
    assert (found.error, found.arithmetic) == (f"bad.py:6: ValueError: {message}", arithmetic)


def test_what_the_process_printed_last_is_told(start):
    found = start(doing("print('a' * 9999, 'the last words', file=sys.stderr)\nos._exit(3)")).ask("rms_norm", X)()
    assert found.error.startswith("the subject's process ended with exit code 3: ")
    assert found.error.endswith("the last words")
    assert len(found.error) < 300


# --- printing, files, threads, children -------------------------------------------------------------------------------

FORGED = '{"id": 2, "arrays": {"y": [0.0]}}'


@pytest.mark.parametrize(
    "body",
    [
        f"print({FORGED!r}, flush=True)",
        f"os.write(1, {FORGED.encode()!r} + b'\\n')",
        f"sys.__stdout__.write({FORGED!r} + '\\n')",
        f"sys.stdout.buffer.write({FORGED.encode()!r} + b'\\n')\nsys.stdout.flush()",
        f"subprocess.run(['echo', {FORGED!r}])",
        "for _ in range(300):\n    sys.stderr.write('x' * 20000)",
        "for _ in range(30000):\n    print('x' * 99)",
        "sys.stdout = sys.stderr = None",
        "os.close(0)\nos.close(1)",
        "threading.Thread(target=time.sleep, args=(999,)).start()",
        "threading.Thread(target=lambda: [0 for _ in iter(int, 1)], daemon=True).start()",
        "subprocess.Popen(['sleep', '999'])",
        "open('left behind', 'w').write('x')",
        "sys.setrecursionlimit(50)\nsys.settrace(None)\nos.chdir('/')",
    ],
)
def test_whatever_else_a_subject_does_its_answer_is_its_answer(body, start):
    subject = start(doing(f"{body}\nreturn [4.0]"))
    assert subject.ask("rms_norm", X)().arrays == {"y": [4.0]}
    assert subject.ask("rms_norm", X, "float64", GOOD)().arrays == DOUBLED
    began = time.monotonic()
    subject.close()
    assert time.monotonic() - began < 3.0


@pytest.mark.parametrize(
    "answer",
    [
        '{"id": 2}',
        '{"id": 2, "error": "x"}',
        '{"id": 2, "error": {"type": "E", "message": "", "where": ""}}',
        '{"id": 2, "lost": ""}',
        '{"id": 2, "skipped": ""}',
        '{"id": 2, "arrays": []}',
        '{"id": 2, "trace": {}}',
        '{"id": 2, "trace": {"rows": [], "guards": [], "escapes": [1], "outputs": {}}}',
        '{"id": 2, "trace": {"rows": [[]], "guards": [], "escapes": [], "outputs": {}}}',
        "[" * 5000,
    ],
)
def test_a_forged_answer_of_another_form_raises_nothing(answer, start):
    line = f"{answer}\n".encode()
    body = f"for fd in range(3, 64):\n    try:\n        os.write(fd, {line!r})\n    except OSError:\n        pass"
    assert (
        start(doing(f"{body}\nreturn [1.0]"))
        .ask("rms_norm", X, "dependencies" if "rows" in answer else "float64")()
        .error
    )


def test_one_who_answers_early_and_then_reads_no_more_is_given_up(start):
    line = b'{"id": 2, "arrays": {"y": [0.0]}}\n'
    body = f"for fd in range(3, 64):\n    try:\n        os.write(fd, {line!r})\n    except OSError:\n        pass"
    subject = start(doing(f"{body}\ntime.sleep(60)"), SHORT)
    assert subject.ask("rms_norm", X)().arrays == {"y": [0.0]}
    longer = source(f"{GOOD.text}# {'x' * 200_000}\n", "longer")  # more than a pipe holds
    assert within(5.0, subject.ask("rms_norm", X, "float64", longer)).error.startswith("no answer within 1 s")
    assert subject.ask("rms_norm", X, "float64", longer)().arrays == DOUBLED


@pytest.mark.parametrize("name", ["len", "sum", "list", "print", "max", "zip", "__builtins__"])
def test_a_subject_may_use_the_names_of_builtins_for_itself(name, start):
    text = f"{name} = None\n" + GOOD.text if name != "__builtins__" else GOOD.text + "__builtins__ = {}\n"
    subject = start(source(text))
    assert subject.ask("rms_norm", X)().arrays == DOUBLED
    assert subject.ask("rms_norm", X, "float64", GOOD)().arrays == DOUBLED


def test_every_observation_runs_the_file_anew(start):
    subject = start(source(f"calls = []\n{VALUE}def rmsnorm(x):\n    calls.append(1)\n    return [len(calls)]"))
    assert [subject.ask("rms_norm", X)().arrays["y"] for _ in range(3)] == [[1], [1], [1]]


@pytest.mark.parametrize("end", ["close", "loss"])
def test_nothing_is_left_of_a_process(end, start, scratch):
    subject = start(doing("open('left', 'w').write(os.getcwd())\nreturn [os.getpid()]"))
    child = doing("return [subprocess.Popen(['sleep', '999']).pid, os.getpid()]", "child")
    (pid,) = subject.ask("rms_norm", X)().arrays["y"]
    pids = subject.ask("rms_norm", X, "float64", child)().arrays["y"]
    (folder,) = scratch.iterdir()
    assert pids[1] == pid
    assert all(map(alive, pids))
    assert [file.read_text() for file in folder.iterdir()] == [str(folder)]
    if end == "close":
        subject.close()
    else:
        assert subject.ask("rms_norm", X, "float64", doing("os._exit(1)", "gone"))().error
    assert soon(lambda: not folder.exists() and not any(map(alive, pids)))


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="without /proc only the group is known")
@pytest.mark.parametrize(
    "begun",
    [
        "subprocess.Popen(['sleep', '9'], start_new_session=True).pid",
        "subprocess.Popen(['sleep', '9'], start_new_session=True, env={}).pid",
        "int(subprocess.check_output(['sh', '-c', 'setsid sleep 9 >/dev/null 2>&1 & echo $!']))",
    ],
    ids=["child", "child without an environment", "orphan"],
)
def test_a_child_in_a_session_of_its_own_is_killed_too(begun, start):
    subject = start(doing(f"return [{begun}]"))
    (pid,) = subject.ask("rms_norm", X)().arrays["y"]
    subject.close()
    try:
        assert soon(lambda: not alive(pid), 0.5)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 9)


# --- closing ----------------------------------------------------------------------------------------------------------


def test_closing_ends_what_is_under_way_in_an_error(start):
    subject = start(doing("time.sleep(60)"), Limits(30.0, 1024))
    pending = [subject.ask("rms_norm", X) for _ in range(20)]
    assert soon(lambda: subject._process and subject._process.loaded)
    began = time.monotonic()
    subject.close()
    assert all(within(5.0, each).error for each in pending)
    assert time.monotonic() - began < 3.0
    subject.close()
    assert not subject._thread.is_alive()


def test_closing_at_once_leaves_no_process(monkeypatch, scratch):
    made = []
    begin = process._Process

    def slowly(limits):
        time.sleep(0.2)
        made.append(begin(limits))
        return made[-1]

    monkeypatch.setattr(process, "_Process", slowly)
    subject = ProcessSubject(GOOD, USUAL)
    subject.close()
    try:
        assert soon(lambda: not list(scratch.iterdir()) and not any(alive(each._child.pid) for each in made), 0.5)
    finally:
        for each in made:
            each.kill()


def test_a_question_after_closing_is_answered_with_an_error(start):
    subject = start()
    assert subject.ask("rms_norm", X)().arrays == DOUBLED
    subject.close()
    assert within(0.5, subject.ask("rms_norm", X)).error


def test_a_process_that_cannot_be_started_is_an_error(monkeypatch, scratch):
    monkeypatch.setattr(process.sys, "executable", "no such interpreter")
    assert within(0.5, ProcessSubject(GOOD, USUAL).ask("rms_norm", X)).error
    assert not list(scratch.iterdir())
