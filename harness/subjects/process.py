"""A subject in another process, which may hang, die or answer nonsense: that costs an error, and nothing else.

The process is started at once; a thread of this one sends it requests one by one and keeps their answers, so that the
subject computes while PyTorch is being imported here. A process that does not answer in time is killed with its
children and started anew; one that is lost three times is not started again.
"""

import contextlib
import json
import os
import queue
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
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
MARK = "HARNESS_SUBJECT"  # in the environment of a subject's process, and so of its children: its scratch folder


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
        self._closing = threading.Event()
        self._lock = threading.Lock()  # over whether it is being closed, and which process to end then
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def ask(self, observable: str, inputs: Inputs, reading: str = "float64", source: Source | None = None) -> Pending:
        """Begin to observe the subject, or another source in its process (a patched copy)."""
        arithmetic = "trace" if reading in TRACED else "float64"
        answer: Future[dict[str, Any]] = Future()
        request = {"do": "observe", "observable": observable, "arithmetic": arithmetic, "inputs": inputs}
        with self._lock:
            if self._closing.is_set():
                answer.set_result({"lost": "not asked: the run was ended"})
            else:
                self._jobs.put((source or self.source, request, answer))
        return lambda: _observation(answer.result(), observable, inputs, reading)

    def close(self) -> None:
        """Stop the process and the thread that feeds it; requests under way end in an error."""
        with self._lock:
            self._closing.set()
            self._jobs.put(None)
            process = self._process
        if process:
            process.kill()
        self._thread.join(timeout=5)

    def _serve(self) -> None:
        with contextlib.suppress(Lost):
            self._started()  # before the first request: it takes as long as PyTorch's first modules
        while job := self._jobs.get():
            source, request, answer = job
            try:
                result = self._answer(source, request)
            except Lost as lost:
                result = {"lost": str(lost)}
            except Exception as error:
                result = {"lost": f"{type(error).__name__}: {error}"}
            answer.set_result(result)

    def _started(self) -> "_Process":
        """The process, begun where there is none; Lost where there will be none."""
        if self._process is None:
            if self._closing.is_set() or len(self._losses) >= MAX_LOSSES:
                raise Lost(f"not asked any more: {self._losses[-1] if self._losses else 'the run was ended'}")
            try:
                process = _Process(self.limits)
            except Exception as error:
                self._losses.append(f"the subject's process cannot be started: {error}")
                raise Lost(self._losses[-1]) from error
            with self._lock:
                self._process = process
            if self._closing.is_set():  # meanwhile, by one who saw no process to end
                process.kill()
        return self._process

    def _answer(self, source: Source, request: dict[str, Any]) -> dict[str, Any]:
        process = self._started()
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
        self._lines: queue.Queue[bytes] = queue.Queue()
        self._errors: deque[bytes] = deque(maxlen=20)
        self._number = 0
        self._greeted = False
        self._pipe = threading.Lock()  # nothing is written to a pipe that is being closed
        self._folder = tempfile.mkdtemp(prefix="harness-")
        try:
            self._child = subprocess.Popen(  # noqa: S603 - the interpreter that runs us, and a file beside this one
                [sys.executable, "-I", "-S", str(WORKER), str(limits.memory)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=self._folder,
                env={**os.environ, MARK: self._folder},
                start_new_session=True,
            )
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        threading.Thread(target=self._drain, daemon=True).start()
        threading.Thread(target=self._drain_errors, daemon=True).start()

    def exchange(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send one request, wait for its answer; Lost where none comes in time."""
        if not self._greeted:
            self._receive()
            self._greeted = True
        self._number += 1
        self._send(json.dumps({"id": self._number, **request}).encode() + b"\n")
        answer = self._receive()
        if answer.pop("id", None) != self._number:
            raise Lost("the subject's process answered out of turn")
        return answer

    def _send(self, line: bytes) -> None:
        """Write a line; Lost where it is not taken in time: one who answers before it is asked may not read on."""
        assert self._child.stdin is not None  # noqa: S101 - it was opened as a pipe
        end = time.monotonic() + self.limits.seconds
        rest = memoryview(line)
        try:
            pipe = self._child.stdin.fileno()
            os.set_blocking(pipe, False)
            room = select.poll()
            room.register(pipe, select.POLLOUT)
            while rest:
                if not room.poll(max(0.0, end - time.monotonic()) * 1000):
                    raise Lost(self._too_late())
                with self._pipe, contextlib.suppress(BlockingIOError):
                    rest = rest[os.write(self._child.stdin.fileno(), rest) :]
        except (OSError, ValueError) as error:  # its end is closed, or ours
            raise Lost(self._how_it_died()) from error

    def _too_late(self) -> str:
        return f"no answer within {self.limits.seconds:g} s: the subject hangs, or needs more time"

    def _receive(self) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=self.limits.seconds)
        except queue.Empty:
            raise Lost(self._too_late()) from None
        if not line:
            raise Lost(self._how_it_died())
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            answer = None
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
        family = _descendants(self._child.pid) if self._child.poll() is None else set()  # while each has its parent
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, signal.SIGKILL)
        _kill(family)
        for _ in range(100):  # until none of them is left that begins another
            if not (marked := _marked(f"{MARK}={self._folder}")):
                break
            _kill(marked)
            time.sleep(0.005)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(timeout=5)
        with self._pipe, contextlib.suppress(OSError):
            if self._child.stdin:
                self._child.stdin.close()
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


def _kill(processes: set[int]) -> None:
    for each in processes:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(each, signal.SIGKILL)


def _running(file: str) -> dict[int, bytes]:
    """One file of /proc for each process that lets it be read; nothing on a platform without them."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            found[int(folder.name)] = (folder / file).read_bytes()
    return found


def _descendants(process: int) -> set[int]:
    """The children of a process, their children, and so on, whatever session they are in."""
    parents = {child: int(stat.rpartition(b")")[2].split()[1]) for child, stat in _running("stat").items()}
    found, last = set[int](), {process}
    while last:
        last = {child for child, parent in parents.items() if parent in last} - found
        found |= last
    return found


def _marked(mark: str) -> set[int]:
    """The processes that were begun with a mark in their environment."""
    return {each for each, environment in _running("environ").items() if os.fsencode(mark) in environment.split(b"\0")}


def _observation(answer: dict[str, Any], observable: str, inputs: Inputs, reading: str) -> Observation:
    """What an answer says; one of another form, which a subject may forge, is an error."""
    match answer:
        case {"lost": str(message)} if message:
            return Observation(error=message)
        case {"skipped": str(reason)} if reason:
            return Observation(skipped=reason)
        case {
            "error": {"type": str(kind), "message": str(message), "where": str(where), "arithmetic": bool(of_numbers)}
        }:
            return Observation(
                error=f"{where}: {kind}: {message}" if where else f"{kind}: {message}", arithmetic=of_numbers
            )
        case {"trace": {"rows": list(), "guards": list(), "escapes": list(escapes), "outputs": dict()}} if all(
            isinstance(escape, str) for escape in escapes
        ):
            return trace.read(answer["trace"], observable, inputs, reading)
        case {"arrays": dict(arrays)}:
            return Observation(arrays=arrays)
    return Observation(error="the subject's process gave an answer of another form")
