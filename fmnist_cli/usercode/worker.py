"""The process that runs a user's code: requests come in, outcomes go out.

Started by ``subject``; the first request says what to load and how much it may use. The judge does
not trust what comes out, only reads it.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from fmnist_cli.usercode import guard, shim, wire
from fmnist_cli.usercode.network import NetworkBench, load_object
from fmnist_cli.usercode.operations import Bench
from fmnist_cli.usercode.outcomes import error_outcome, quiet
from fmnist_cli.usercode.parts import load_source

PROGRESS_BYTES = 80
PROGRESS_FILE = "progress"


def main() -> NoReturn:
    """Answer requests until there are no more."""
    requests, replies = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1):
        os.dup2(null, standard)
    send, receive = wire.send, wire.receive  # by reference: the file may replace them
    with contextlib.suppress(BrokenPipeError, EOFError):  # the judge has no more questions
        worker = _Worker(receive(requests))
        send(replies, {"ready": True})
        while True:
            send(replies, worker.answer(receive(requests)))
    os._exit(0)


class _Worker:
    def __init__(self, start: dict[str, Any]) -> None:
        self.start = start
        self.bench: Bench | NetworkBench | None = None
        self.refusals: list[str] = []
        self.before = guard.numpy_names()
        progress = os.open(PROGRESS_FILE, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)

        def entering(name: str) -> None:
            os.pwrite(progress, name.encode()[:PROGRESS_BYTES].ljust(PROGRESS_BYTES), 0)

        self.entering = entering
        supplied = shim.supplied_modules()
        sys.modules.update(supplied)
        guard.limit(guard.Limits(**start["limits"]))
        folder = str(Path.cwd())
        sys.path[:] = [path for path in sys.path if path and path != folder]
        forbidden = {*start["forbidden"]}
        if start["restricted"]:
            guard.refuse(folder, self.refusals)
            forbidden |= guard.NEVER_IMPORTED
        self.built_ins = guard.guarded_builtins(forbidden, supplied, self.refusals)

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        operation, n_before = request["operation"], len(self.refusals)
        try:
            answer = {"reply": self._reply(operation, request["arguments"])}
        except BaseException as error:  # also what a replaced NumPy breaks in our own lines
            answer = {"failed": error_outcome(error, self.start["name"])}
        if operation == "main":  # what it writes and reads is its own affair
            del self.refusals[n_before:]
        return answer | {"refusals": list(self.refusals)}

    def _reply(self, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        if operation == "numpy_replaced":
            return {"names": self._numpy_replaced()}
        if operation == "load":
            self.entering("the file's top level")
            with quiet():
                self.bench = self._load()
            return self.bench.describe()
        assert self.bench is not None
        return self.bench.call(operation, arguments)

    def _load(self) -> Bench | NetworkBench:
        name, interface = self.start["name"], self.start["interface"]
        if interface:
            made = load_object(interface, Path(self.start["import_folder"]))()
            return NetworkBench(made, name, self.entering)
        text = self.start["text"].encode("utf-8", "surrogateescape")
        return Bench(load_source(text, name, built_ins=self.built_ins), name, self.entering)

    def _numpy_replaced(self) -> list[str]:
        """The public names of NumPy that mean something else than before the file ran."""
        return [
            f"{module}.{name}"
            for module, names in guard.numpy_names().items()
            for name, identity in names.items()
            if self.before[module].get(name, identity) != identity
        ][:10]
