"""The subject's process: reads requests as JSON Lines, runs the subject's code, answers.

It is started as ``python -I -S worker.py``: without site-packages, so that a subject that runs here needs none. The
harness never sends it an expected value. Standard output is kept for answers; whatever the subject prints goes to
standard error.

Requests: ``{"id", "do": "load", "name", "path", "source"}`` and ``{"id", "do": "observe", "subject", "observable",
"arithmetic": "float64" or "trace", "inputs"}``. Answers carry the id and one of ``arrays``, ``trace``, ``loaded``,
``skipped`` (a reason) or ``error`` (``type``, ``message``, ``where``, ``arithmetic``).
"""

import gc
import importlib.util
import json
import math
import os
import re
import resource
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import CodeType, ModuleType
from typing import IO, Any

PROTOCOL = 1
STACK_BYTES = 256 << 20
# What the module math says of an argument outside a function's domain; Python 3.14 names the domain.
OUTSIDE_A_DOMAIN = re.compile(
    r"math (domain|range) error|expected (a (positive|nonnegative|finite|noninteger|number)|argument value)\b"
)


def _sibling(name: str) -> ModuleType:
    """Import a file beside this one by its path, so that the subject's own imports never see this folder.

    It goes by its full name, by which the files that are imported after it find it.
    """
    full_name = f"harness.subjects.{name}"
    specification = importlib.util.spec_from_file_location(full_name, Path(__file__).with_name(f"{name}.py"))
    if specification is None or specification.loader is None:
        raise ImportError(f"{name}.py is missing beside {__file__}")
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


driving = _sibling("driving")
asking = _sibling("asking")
witnessing = _sibling("witnessing")
tracing = _sibling("tracing")

OBSERVABLES: dict[str, Callable[[Any, dict[str, Any]], dict[str, Any]]] = {
    **asking.OBSERVABLES,
    **witnessing.OBSERVABLES,
}


class Worker:
    """The subjects loaded so far, by name, and how a request is answered."""

    def __init__(self) -> None:
        self.loaded: dict[str, tuple[CodeType, str]] = {}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """One answer for one request; whatever the subject raises is part of the answer."""
        try:
            return self._load(request) if request["do"] == "load" else self._observe(request)
        except driving.Unsupported as reason:
            return {"skipped": str(reason)}
        except BaseException as error:
            return {"error": self.describe(error, request.get("path", ""))}

    def line(self, request: dict[str, Any]) -> str:
        """The answer as a line of JSON; one that JSON cannot hold is an error too."""
        try:
            return json.dumps({"id": request["id"], **self.answer(request)}, allow_nan=False) + "\n"
        except BaseException as error:
            return json.dumps({"id": request["id"], "error": self.describe(error, "")}) + "\n"

    def describe(self, error: BaseException, path: str) -> dict[str, Any]:
        """What was raised, and where in the subject's files, or in the file at `path` that could not be loaded."""
        files = {path, *(code.co_filename for code, _ in self.loaded.values())} - {""}
        kind = _attempt(lambda: str(type(error).__name__), "an exception")
        message = _attempt(lambda: str(error)[:500], "its message cannot be told")
        arithmetic = issubclass(type(error), ArithmeticError) or (
            type(error) is ValueError and OUTSIDE_A_DOMAIN.match(message) is not None
        )
        where = _attempt(lambda: _where(error, files), "") or path
        return {"type": kind, "message": message, "where": where, "arithmetic": arithmetic}

    def _load(self, request: dict[str, Any]) -> dict[str, Any]:
        code = compile(request["source"], request["path"], "exec", dont_inherit=True)
        driving.Subject(code, request["source"], lambda _name, number: number, lambda _namespace: None)
        self.loaded[request["name"]] = code, request["source"]
        return {"loaded": request["name"]}

    def _observe(self, request: dict[str, Any]) -> dict[str, Any]:
        code, text = self.loaded[request["subject"]]
        ask = OBSERVABLES[request["observable"]]
        if request["arithmetic"] == "float64":
            subject = driving.Subject(code, text, lambda _name, number: number, lambda _namespace: None)
            return {"arrays": _portable(ask(subject, request["inputs"]))}
        tape = tracing.Tape()
        subject = driving.Subject(code, text, tape.input, lambda namespace: tracing.bring_in(namespace, tape))
        outputs = {name: _rows(array, tape) for name, array in ask(subject, request["inputs"]).items()}
        escapes = sorted(set(tape.escapes))
        # only inputs and constants hold a number that JSON may not have: the others, nearly all, are sent as they are
        rows = [_portable(row) if row[0] in ("input", "constant") else row for row in tape.rows]
        return {"trace": {"rows": rows, "guards": tape.guards, "escapes": escapes, "outputs": outputs}}


def _attempt(tell: Callable[[], str], otherwise: str) -> str:
    """What an exception of the subject's tells of itself; it may raise another instead."""
    try:
        return tell()
    except BaseException:
        return otherwise


def _where(error: BaseException, files: set[str]) -> str:
    """The last line in one of the files that the error came through; nothing where it came through none.

    The traceback is walked, not extracted: after an endless recursion it has a million frames.
    """
    if isinstance(error, SyntaxError) and error.filename in files and error.lineno:
        return f"{error.filename}:{error.lineno}"
    last, step = None, error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename in files:
            last = step
        step = step.tb_next
    return f"{last.tb_frame.f_code.co_filename}:{last.tb_lineno}" if last else ""


def _rows(nested: Any, tape: Any) -> Any:
    """The tape's row of each number in nested lists."""
    if isinstance(nested, (list, tuple)):
        return [_rows(item, tape) for item in nested]
    return tape.index(nested)


def _portable(nested: Any) -> Any:
    """Nested lists with numbers as JSON has them: not-a-number and infinities become their names."""
    if isinstance(nested, float):
        return nested if math.isfinite(nested) else repr(nested)
    if isinstance(nested, (list, tuple)):
        return [_portable(item) for item in nested]
    if isinstance(nested, dict):
        return {name: _portable(item) for name, item in nested.items()}
    if isinstance(nested, complex):
        return "nan"  # no float64 model can mean it
    if nested is None or isinstance(nested, (int, str)):
        return nested
    raise TypeError(f"the subject answered with {type(nested).__name__} where a number was expected")


def _limit(memory_bytes: int) -> None:
    """Cap the address space, so that a subject that eats memory gets MemoryError, and write no core files."""
    for kind, bound in ((resource.RLIMIT_AS, memory_bytes), (resource.RLIMIT_CORE, 0)):
        try:
            resource.setrlimit(kind, (bound, bound))
        except (OSError, ValueError):  # not every platform enforces these
            print(f"worker: no limit for resource {kind} on this platform", file=sys.stderr)


def serve(requests: IO[str], answers: IO[str]) -> None:
    """Answer requests line by line until one says stop or the pipe closes."""
    worker = Worker()
    gc.disable()  # collecting in the middle of a graph of a million nodes costs more than the graph
    for line in requests:
        request = json.loads(line)
        if request["do"] == "stop":
            return
        answers.write(worker.line(request))
        answers.flush()
        gc.collect()
        gc.freeze()  # what survived is here to stay: the next collection need not look at it


def main() -> None:
    """Keep standard output for answers, raise the limits of recursion, lower those of memory, and serve."""
    _limit(int(sys.argv[1]) << 20)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    requests = os.fdopen(os.dup(0), "r", encoding="utf-8")
    os.close(0)
    os.open(os.devnull, os.O_RDONLY)
    answers.write(json.dumps({"protocol": PROTOCOL, "observables": sorted(OBSERVABLES)}) + "\n")
    answers.flush()
    sys.setrecursionlimit(1_000_000)
    threading.stack_size(STACK_BYTES)
    thread = threading.Thread(target=serve, args=(requests, answers))
    thread.start()
    thread.join()
    answers.flush()
    os._exit(0)  # threads that a subject left behind do not hold the process


if __name__ == "__main__":
    main()
