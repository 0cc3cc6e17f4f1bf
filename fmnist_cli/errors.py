"""Every error that fmnist raises on purpose, with the exit code it leads to.

::

    FmnistError                 1   it failed
    ├── UsageError              2   a value that the user gave cannot be used
    ├── DataError               1   the images or labels cannot be had or read
    │   └── ChecksumError       3   they are not what they should be
    ├── RegistryError           1   the registry cannot be opened, read or written
    │   ├── RegistryUnavailable 1   just now: locked, full, damaged, moved away
    │   ├── RunNotFound         1   no run (or study) of that id
    │   ├── RunTakenOver        1   another process goes on with the run
    │   └── SchemaTooNew        1   the file was written by a newer fmnist
    ├── ArtefactError           1   a saved file (weights, ...) is missing or damaged
    ├── CheckFailed             3   a gradient, a count or a reproduction did not hold
    └── Diverged                4   the training left the numbers behind

    Terminated (BaseException)  143 SIGTERM arrived; 130 is KeyboardInterrupt's

A message says what must hold, what came, and what to do, and ends there: one line.
Anything else that escapes is a bug and shows its traceback.
"""

from __future__ import annotations


class FmnistError(Exception):
    """Base of all errors whose message is meant for the user."""

    exit_code = 1


class UsageError(FmnistError):
    """A value that the user gave cannot be used."""

    exit_code = 2


class DataError(FmnistError):
    """The images or labels cannot be had, or a file of them is bad."""


class ChecksumError(DataError):
    """A data file is not, bit for bit, what it should be."""

    exit_code = 3


class RegistryError(FmnistError):
    """The registry cannot be opened, read or written."""


class RegistryUnavailable(RegistryError):
    """The registry's file cannot be used just now: it is locked, full, damaged or gone."""


class RunNotFound(RegistryError):
    """No run, or no study, has the id that was asked for."""


class RunTakenOver(RegistryError):
    """A run that was taken for dead lives, and another process has gone on with it."""


class SchemaTooNew(RegistryError):
    """The registry was written by a newer fmnist than this one."""


class ArtefactError(FmnistError):
    """A file that a run saved is missing, damaged or does not fit the model."""


class CheckFailed(FmnistError):
    """A check (of a gradient, a parameter count, a reproduction) did not hold."""

    exit_code = 3


class Diverged(FmnistError):
    """The training diverged: a number is not finite, or the hidden units died."""

    exit_code = 4


class Terminated(BaseException):
    """SIGTERM arrived. Like KeyboardInterrupt, not an Exception: nothing may swallow it."""

    exit_code = 143


def require(holds: bool, must: str, received: object) -> None:
    """Raise ``UsageError("<must>. Received: <received>.")`` unless ``holds``."""
    if not holds:
        raise UsageError(f"{must}. Received: {received}.")
