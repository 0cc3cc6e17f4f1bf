"""The user's code as the judge sees it: something that answers operations, or does not."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fmnist_cli.host import signals_deferred
from fmnist_cli.usercode import wire
from fmnist_cli.usercode.guard import Limits
from fmnist_cli.usercode.network import NetworkBench
from fmnist_cli.usercode.operations import Bench
from fmnist_cli.usercode.structure import imported
from fmnist_cli.usercode.worker import PROGRESS_BYTES, PROGRESS_FILE

_LARGEST_STDERR = 2_000
_IS_NAME = re.compile(r"[A-Za-z_.' ]{1,80}").fullmatch
_START_SECONDS = 60.0  # for Python and NumPy to be imported on a busy machine


class Unanswered(Exception):
    """The code gave no answer; the message is a sentence that says why.

    ``lacking``: "model" where it asked the model for what only one of another class has.
    """

    def __init__(self, sentence: str, line: int | None = None, lacking: str = "") -> None:
        if sentence.startswith(("the ", "it ")):  # not the name of a layer
            sentence = sentence[0].upper() + sentence[1:]
        super().__init__(sentence)
        self.sentence, self.line, self.lacking = sentence, line, lacking


class Subject:
    """The user's code: here one's own, in this process, where nothing is limited."""

    banned: Sequence[str] = ()  # the modules for which the code is not run at all
    refusals: Sequence[str] = ()  # what it tried and was refused, after "tried to"

    def __init__(self, bench: Bench | NetworkBench) -> None:
        self._bench = bench

    def load(self) -> dict[str, Any]:
        """What the code defines; Unanswered where it cannot be loaded."""
        return self._bench.describe()

    def call(self, operation: str, /, **arguments: Any) -> dict[str, Any]:
        """The reply to an operation; Unanswered where there is none."""
        return _unless_failed(self._bench.call(operation, arguments))

    def forget(self) -> None:
        """Have the code loaded anew, where it may have kept something of an operation."""

    def numpy_replaced(self) -> list[str]:
        """The public names of NumPy that the code has replaced."""
        return []


@dataclass(frozen=True)
class Source:
    """What a process is to load, and how far it is trusted."""

    name: str  # the file's, as its lines are known in a traceback
    text: bytes = b""  # empty for the second interface
    interface: str = ""  # ``module:factory`` of the second interface
    import_folder: str = ""  # where that module is
    restricted: bool = True  # no files, processes, sockets: what another person's file gets
    forbidden: tuple[str, ...] = ()  # top-level modules that may not be imported


class ProcessSubject(Subject):
    """A file's code in a process of its own, in an empty folder, within limits.

    A process that dies or hangs is replaced: one operation's end does not touch the next.
    """

    def __init__(self, source: Source, limits: Limits) -> None:
        self.source, self.limits = source, limits
        self.banned = sorted(imported(source.text) & {*source.forbidden})
        self.refusals: list[str] = []
        self._folder = Path(tempfile.mkdtemp(prefix="fmnist-check-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._left = limits.file_seconds

    def __enter__(self) -> ProcessSubject:
        _at_work.add(self)
        return self

    def __exit__(self, *raised: object) -> None:
        with signals_deferred():  # a second Ctrl-C must not leave the folder
            self._end()
            shutil.rmtree(self._folder, ignore_errors=True)
            _at_work.discard(self)

    def stop(self) -> None:
        """Have the thread that waits for an answer, and every later question, get none."""
        self._left = 0.0
        if (process := self._process) is not None:
            process.kill()

    def load(self) -> dict[str, Any]:
        return self._ask("load", {}, self.limits.call_seconds)

    def call(self, operation: str, /, **arguments: Any) -> dict[str, Any]:
        if self._process is None:
            self.load()
        seconds = self.limits.call_seconds + float(arguments.get("seconds", 0.0))
        return _unless_failed(self._ask(operation, arguments, seconds))

    def forget(self) -> None:
        self._end()

    def numpy_replaced(self) -> list[str]:
        return [] if self._process is None else list(self._ask("numpy_replaced", {}, 5.0)["names"])

    def _start(self) -> None:
        root = str(Path(__file__).resolve().parents[2])
        code = (
            f"import sys; sys.path.append({root!r}); from fmnist_cli.usercode import guard; "
            # before NumPy is imported: a user namespace can be entered by a single thread only
            "guard.without_network(); from fmnist_cli.usercode.worker import main; main()"
        )
        self._work = folder = tempfile.mkdtemp(dir=self._folder)
        environment = {
            "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": folder, "TMPDIR": folder,
        }  # fmt: skip
        for library in ("OPENBLAS", "OMP", "MKL", "NUMEXPR"):
            environment[f"{library}_NUM_THREADS"] = "1"
        self._stderr = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115
        self._process = process = subprocess.Popen(
            [sys.executable, "-I", "-B", "-X", "utf8", "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        self._pipes = process.stdin, process.stdout
        text = self.source.text.decode("utf-8", "surrogateescape")
        wire.send(
            process.stdin.fileno(),
            asdict(self.source) | {"text": text, "limits": asdict(self.limits)},
        )
        try:
            wire.receive(process.stdout.fileno(), time.monotonic() + _START_SECONDS)
        except (EOFError, TimeoutError) as error:
            self._stderr.seek(0)
            said = self._stderr.read()[-_LARGEST_STDERR:].decode("utf-8", "replace")
            raise RuntimeError(f"the worker did not start: {said}") from error

    def _ask(self, operation: str, arguments: dict[str, Any], seconds: float) -> dict[str, Any]:
        if self._left <= 0:
            raise Unanswered(
                f"the file as a whole used more than {self.limits.file_seconds:g} s; the rest was "
                "not run."
            )
        if self._process is None:
            self._start()
        begin = time.monotonic()
        try:
            wire.send(self._pipes[0].fileno(), {"operation": operation, "arguments": arguments})
            message = wire.receive(self._pipes[1].fileno(), begin + min(seconds, self._left))
        except wire.WireError:
            self._end()
            raise Unanswered(
                "the file wrote between the messages by which fmnist reads its results: only "
                "print may write."
            ) from None
        except (EOFError, BrokenPipeError):
            raise Unanswered(self._how_it_died()) from None
        except TimeoutError:
            where = self._where()
            self._end()
            raise Unanswered(
                f"{where} did not finish within {min(seconds, self._left):.3g} s: an endless loop, "
                "or one that takes far too long."
            ) from None
        finally:
            self._left -= time.monotonic() - begin
        for what in message.get("refusals", ()):
            if isinstance(what, str) and what not in self.refusals:
                self.refusals.append(what)
        if "failed" in message:
            raise unanswered(message["failed"], self._where())
        reply: dict[str, Any] = message["reply"]
        return reply

    def _where(self) -> str:
        try:
            written = Path(self._work, PROGRESS_FILE).read_bytes()[:PROGRESS_BYTES]
        except OSError:
            written = b""
        name = written.decode("utf-8", "replace").strip()
        return name if _IS_NAME(name) else "the file"  # which can write there too

    def _how_it_died(self) -> str:
        assert self._process is not None
        where, process = self._where(), self._process
        try:
            code = process.wait(5)
        except subprocess.TimeoutExpired:
            code = -signal.SIGKILL
        self._end()
        if code == -signal.SIGXCPU:
            return f"{where} used more processor time than {self.limits.file_seconds:g} s."
        if code < 0:
            name = signal.Signals(-code).name
            return f"{where} ended the Python process with {name}: a crash, or too much memory."
        return f"{where} ended the Python process (exit code {code}): os._exit must not be called."

    def _end(self) -> None:
        if self._process is None:
            return
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            self._process.kill()
        for pipe in self._pipes:
            with suppress(BrokenPipeError):
                pipe.close()
        self._process.wait()
        self._stderr.close()
        self._process = None


_at_work: set[ProcessSubject] = set()


def stop_all() -> None:
    """Stop every file's process, in whichever thread it is waited for."""
    for subject in tuple(_at_work):
        subject.stop()


def _unless_failed(reply: dict[str, Any]) -> dict[str, Any]:
    """The reply, where the user's code raised nothing that ends the operation."""
    if isinstance(reply.get("error"), dict):
        raise unanswered(reply["error"], "")
    return reply


def unanswered(outcome: dict[str, Any], where: str) -> Unanswered:
    """An outcome without a value, as a sentence."""
    name, text = str(outcome.get("error")), str(outcome.get("text")).rstrip(".")
    line = outcome["line"] if isinstance(outcome.get("line"), int) else None
    at = "" if line is None else f" in line {line}"
    not_python = f"the file is not valid Python: {text}."
    known = {
        "NotFound": f"{text}.",
        "SystemExit": f"it called sys.exit{at}, which ends the program.",
        "MemoryError": f"it asked for more memory than it may have{at}.",
        "OutputLimitError": f"it {text}{at}.",
        "SyntaxError": not_python,
        "IndentationError": not_python,
        "TabError": not_python,
        "RecursionError": f"it calls itself without end{at}.",
        "RefusedError": f"{text}{at}.",
    }
    sentence = known.get(name, f"it raised {name}{at}: {text}." if text else f"{name}{at}.")
    place = f"{where}: " if where else ""
    return Unanswered(f"{place}{sentence}", line, str(outcome.get("lacking")))
