"""The process that runs a user's code: requests come in, outcomes go out.

Started by ``sandbox``; the first request says what to load and how much it may use. The judge
does not trust what comes out, only reads it.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

PROGRESS_BYTES = 80
PROGRESS_FILE = "progress"


def main() -> NoReturn:
    """Answer requests until there are no more."""
    requests, replies = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1):
        os.dup2(null, standard)
    # before NumPy is imported: a user namespace can be entered by a single thread only
    from fmnist_cli.usercode import guard

    guard.without_network()
    from fmnist_cli.usercode import wire

    send, receive = wire.send, wire.receive
    with contextlib.suppress(BrokenPipeError, EOFError):  # the judge has no more questions
        worker = _Worker(receive(requests))
        send(replies, {"ready": True})
        while True:
            send(replies, worker.answer(receive(requests)))
    os._exit(0)


class _Worker:
    def __init__(self, start: dict[str, Any]) -> None:
        # everything that is needed is imported before anything is refused
        import numpy.linalg
        import numpy.random  # noqa: F401

        from fmnist_cli.usercode import guard, network, operations, outcomes, parts, shim
        from fmnist_cli.usercode import models as _models  # noqa: F401

        self.refusals: list[str] = []
        self.filename = start["name"]
        self.numpy_names = guard.numpy_names
        self.before = guard.numpy_names()
        progress = os.open(PROGRESS_FILE, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)

        def entering(name: str) -> None:
            os.pwrite(progress, name.encode()[:PROGRESS_BYTES].ljust(PROGRESS_BYTES), 0)

        self.outcomes, self.entering = outcomes, entering
        self.bench: operations.Bench | network.NetworkBench | None = None
        limits = guard.Limits(**start["limits"])
        supplied = shim.supplied_modules()
        sys.modules.update(supplied)
        guard.limit(limits)
        restricted = start["restricted"]
        folder = Path.cwd()
        sys.path[:] = [path for path in sys.path if path and path != str(folder)]
        if restricted:
            guard.refuse(str(folder), self.refusals)
        built_ins = guard.guarded_builtins(
            {*start["forbidden"], *(guard.NEVER_IMPORTED if restricted else ())},
            supplied,
            self.refusals,
        )

        def load() -> operations.Bench | network.NetworkBench:
            if start["interface"]:
                made = network.load_object(start["interface"], Path(start["import_folder"]))()
                return network.NetworkBench(made, self.filename, entering)
            found = parts.load_source(
                start["text"].encode("utf-8", "surrogateescape"),
                self.filename,
                built_ins=built_ins,
            )
            return operations.Bench(found, self.filename, entering)

        self.load = load

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            if request["operation"] == "load":
                return {"reply": self._loaded(), "refusals": list(self.refusals)}
            if request["operation"] == "numpy_replaced":
                return {"reply": {"names": self._numpy_replaced()}, "refusals": self.refusals}
            assert self.bench is not None
            n_before = len(self.refusals)
            try:
                reply = self.bench.call(request["operation"], request["arguments"])
            finally:
                if request["operation"] == "main":  # what it writes and reads is its own affair
                    del self.refusals[n_before:]
            return {"reply": reply, "refusals": list(self.refusals)}
        except BaseException as error:  # also what a replaced NumPy breaks in our own lines
            return {
                "failed": self.outcomes.error_outcome(error, self.filename),
                "refusals": list(self.refusals),
            }

    def _loaded(self) -> dict[str, Any]:
        self.entering("the file's top level")
        with self.outcomes.quiet():
            self.bench = self.load()
        return self.bench.describe()

    def _numpy_replaced(self) -> list[str]:
        """The public names of NumPy that mean something else than before the file ran."""
        return [
            f"{module}.{name}"
            for module, names in self.numpy_names().items()
            for name, identity in names.items()
            if self.before[module].get(name, identity) != identity
        ][:10]
