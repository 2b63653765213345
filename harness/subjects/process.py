"""A subject in another process, which may hang, die or answer nonsense: that costs an error, and nothing else.

The process is started at once; a thread of this one sends it requests one by one and keeps their answers, so that the
subject computes while PyTorch is being imported here. A process that does not answer in time is killed with its
children and started anew; one that is lost three times is not started again.
"""

import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import trace
from harness.results import Observation
from harness.subjects.base import Inputs, Pending

WORKER = Path(__file__).with_name("worker.py")
MAX_LOSSES = 3
TRACED = ("dependencies", "symbols", "digits")


@dataclass(frozen=True)
class Limits:
    """What one request may cost: seconds, and MiB of address space for the whole process."""

    seconds: float = 20.0
    memory: int = 2048


@dataclass(frozen=True)
class Source:
    """A Python file under test: the name by which it is loaded, its path for messages, its text."""

    name: str
    path: str
    text: str


class Lost(Exception):  # noqa: N818 - it says what became of the process
    """The process hung, died, or spoke out of turn."""


class ProcessSubject:
    """Python sources, observed in one process of their own."""

    def __init__(self, source: Source, limits: Limits) -> None:
        self.source, self.limits = source, limits
        self._jobs: queue.Queue[tuple[Source, dict[str, Any], Future[dict[str, Any]]] | None] = queue.Queue()
        self._process: _Process | None = None
        self._losses: list[str] = []
        self._closing = False
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def ask(self, observable: str, inputs: Inputs, reading: str = "float64", source: Source | None = None) -> Pending:
        """Begin to observe the subject, or another source in its process (a patched copy)."""
        arithmetic = "trace" if reading in TRACED else "float64"
        answer: Future[dict[str, Any]] = Future()
        request = {"do": "observe", "observable": observable, "arithmetic": arithmetic, "inputs": inputs}
        self._jobs.put((source or self.source, request, answer))
        return lambda: _observation(answer.result(), observable, inputs, reading)

    def close(self) -> None:
        """Stop the process and the thread that feeds it; requests under way end in an error."""
        self._closing = True
        self._jobs.put(None)
        if self._process:
            self._process.kill()
        self._thread.join(timeout=5)

    def _serve(self) -> None:
        self._started()  # before the first request: it takes as long as PyTorch's first modules
        while job := self._jobs.get():
            source, request, answer = job
            try:
                result = self._answer(source, request)
            except Lost as lost:
                result = {"error": {"type": "Lost", "message": str(lost), "where": "", "arithmetic": False}}
            except Exception as error:
                result = {
                    "error": {"type": type(error).__name__, "message": str(error), "where": "", "arithmetic": False}
                }
            answer.set_result(result)

    def _started(self) -> "_Process | None":
        if self._process is None and len(self._losses) < MAX_LOSSES and not self._closing:
            self._process = _Process(self.limits)
        return self._process

    def _answer(self, source: Source, request: dict[str, Any]) -> dict[str, Any]:
        process = self._started()
        if process is None:
            last = self._losses[-1] if self._losses else "the run was ended"
            raise Lost(f"not asked any more: {last}")
        try:
            if source.name not in process.loaded:
                load = {"do": "load", "name": source.name, "path": source.path, "source": source.text}
                process.loaded[source.name] = process.exchange(load)
            if "loaded" not in process.loaded[source.name]:
                return process.loaded[source.name]
            return process.exchange({**request, "subject": source.name})
        except Lost as lost:
            process.kill()
            self._process = None
            self._losses.append(str(lost))
            raise


class _Process:
    """One incarnation of the worker, in a scratch folder and a session of its own."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.loaded: dict[str, dict[str, Any]] = {}
        self._folder = tempfile.mkdtemp(prefix="harness-")
        self._child = subprocess.Popen(  # noqa: S603 - the interpreter that runs us, and a file beside this one
            [sys.executable, "-I", "-S", str(WORKER), str(limits.memory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self._folder,
            start_new_session=True,
        )
        self._lines: queue.Queue[bytes] = queue.Queue()
        self._errors: deque[bytes] = deque(maxlen=20)
        threading.Thread(target=self._drain, daemon=True).start()
        threading.Thread(target=self._drain_errors, daemon=True).start()
        self._number = 0
        self._greeted = False

    def exchange(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send one request, wait for its answer; Lost where none comes in time."""
        if not self._greeted:
            self._receive()
            self._greeted = True
        self._number += 1
        assert self._child.stdin is not None  # noqa: S101 - it was opened as a pipe
        try:
            self._child.stdin.write(json.dumps({"id": self._number, **request}).encode() + b"\n")
            self._child.stdin.flush()
        except OSError as error:
            raise Lost(self._how_it_died()) from error
        answer = self._receive()
        if answer.pop("id", None) != self._number:
            raise Lost("the subject's process answered out of turn")
        return answer

    def _receive(self) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=self.limits.seconds)
        except queue.Empty:
            raise Lost(f"no answer within {self.limits.seconds:g} s: the subject hangs, or needs more time") from None
        if not line:
            raise Lost(self._how_it_died())
        try:
            answer = json.loads(line)
        except ValueError:
            raise Lost(f"the subject's process wrote something that is no answer: {line[:80]!r}") from None
        if not isinstance(answer, dict):
            raise Lost(f"the subject's process wrote something that is no answer: {line[:80]!r}")
        return answer

    def _how_it_died(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(timeout=2)
        code = self._child.returncode
        how = f"by signal {signal.Signals(-code).name}" if code and code < 0 else f"with exit code {code}"
        last = b" ".join(self._errors).decode(errors="replace").split()
        return f"the subject's process ended {how}" + (f": {' '.join(last)[-200:]}" if last else "")

    def kill(self) -> None:
        """End the process, its children, and its scratch folder."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(timeout=5)
        for pipe in (self._child.stdin,):
            with contextlib.suppress(OSError):
                if pipe:
                    pipe.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _drain(self) -> None:
        assert self._child.stdout is not None  # noqa: S101 - it was opened as a pipe
        with self._child.stdout as answers:
            for line in answers:
                self._lines.put(line)
        self._lines.put(b"")

    def _drain_errors(self) -> None:
        assert self._child.stderr is not None  # noqa: S101 - it was opened as a pipe
        with self._child.stderr as printed:
            while chunk := printed.readline(4096):
                self._errors.append(chunk.strip())


def _observation(answer: dict[str, Any], observable: str, inputs: Inputs, reading: str) -> Observation:
    if "skipped" in answer:
        return Observation(skipped=str(answer["skipped"]))
    if "error" in answer:
        error = answer["error"]
        where = f"{error['where']}: " if error["where"] else ""
        message = error["message"] if error["type"] == "Lost" else f"{error['type']}: {error['message']}"
        return Observation(error=f"{where}{message}", arithmetic=error["arithmetic"])
    if "trace" in answer:
        return trace.read(answer["trace"], observable, inputs, reading)
    return Observation(arrays=answer["arrays"])
