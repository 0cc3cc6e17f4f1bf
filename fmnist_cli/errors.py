"""Every error that fmnist raises on purpose, with the exit code it leads to.

::

    FmnistError                 1   it failed
    ├── UsageError              2   a value that the user gave cannot be used
    ├── DataError               1   the images or labels cannot be had or read
    │   └── ChecksumError       3   they are not what they should be
    ├── RegistryError           1   the registry cannot be opened, read or written
    │   ├── RegistryUnavailable 1   just now: locked, full, damaged, moved away
    │   ├── RunNotFound         1   no run (or study) of that id
    │   ├── RunTakenOver        1   another process continues the run
    │   └── SchemaTooNew        1   the file was written by a newer fmnist
    ├── ArtefactError           1   a saved file (weights, ...) is missing or damaged
    ├── CheckFailed             3   a gradient, a count or a reproduction did not hold
    └── Diverged                4   the training left the numbers behind

    Stopped (BaseException)         what a signal stopped, and what it leaves behind
    ├── Interrupted             130 Ctrl-C; a KeyboardInterrupt
    └── Terminated              143 SIGTERM or SIGHUP arrived

A message says what must hold and what came, in one line. What to do about it depends on who asks:
an error carries its ``remedy`` and data such as ``run_id``, and the commands turn the two into
what to type (``commands/_advice.py``). Anything else that escapes is a bug and shows its traceback.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from typing import Any, Literal

_NO_MEMORY = (  # as NumPy, the loader of libraries and threads put it
    "Cannot allocate memory",
    "failed to map segment",
    "can't start new thread",
    "can't allocate",
)

Remedy = Literal[
    "allow_custom_data",  # accept data that is not the official one
    "another_registry",  # name another file or database
    "another_to_import",
    "continue_study",  # the call that began it, its ``argv``, again
    "disable_early_stopping",
    "fetch_data",
    "list_runs",  # see which runs there are
    "list_studies",  # and which studies
    "make_room_and_resume",
    "name_data_folder",  # say where the data is
    "open_once_writable",
    "recover_journal",  # once the registry can be written again
    "shared_registry",  # one on a server, for workers on several machines
    "show_run",  # its record has the figures
    "smaller_lr",
    "study",  # make the first of its ``kind``
    "train_dynamics",
    "train_first",
    "upgrade_fmnist",
    "verify",  # everything that the registry holds
    "verify_or_delete",  # the run
]


class FmnistError(Exception):
    """Base of all errors whose message is meant for the user.

    Parameters
    ----------
    message : str
        What must hold and what came, without a word on what to type.
    remedy : str, optional
        What would help.
    **data
        What the error is about, each an attribute: ``run_id``, ``study_id``, ``path``,
        ``registry``, ``option``, ``received``, ...
    """

    exit_code = 1

    def __init__(self, message: str = "", *, remedy: Remedy | None = None, **data: Any) -> None:
        super().__init__(message)
        self.remedy = remedy
        self.data = data

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["data"][name]
        except KeyError:
            raise AttributeError(
                f"{type(self).__name__!r} has no attribute {name!r}", name=name, obj=self
            ) from None


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
    """A run that was presumed dead lives, and another process has continued it."""


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


@dataclass(frozen=True)
class Kept:
    """What is left behind by work that a signal stopped.

    Attributes
    ----------
    text : str
        Such as ``run 3 keeps its 5 epochs``.
    run_id : int or None
        The run, if it can be resumed on its own.
    repeat : bool
        Whether the same call again continues the work.
    """

    text: str
    run_id: int | None = None
    repeat: bool = False


class Stopped(BaseException):
    """A signal stopped the work. Like KeyboardInterrupt, not an Exception: nothing swallows it."""

    exit_code = 1

    def __init__(self, kept: Kept | None = None) -> None:
        super().__init__("" if kept is None else kept.text)
        self.kept = kept


class Interrupted(Stopped, KeyboardInterrupt):
    """Ctrl-C was pressed."""

    exit_code = 130


class Terminated(Stopped):
    """SIGTERM or SIGHUP arrived."""

    exit_code = 143


def require(holds: bool, must: str, received: object, *, remedy: Remedy | None = None) -> None:
    """Raise ``UsageError("<must>. Received: <received>.")`` unless ``holds``.

    ``must`` begins with the name of the option that it is about, where there is one.
    """
    if not holds:
        option, _, _ = must.partition(" ")
        message = f"{must}. Received: {received}."
        raise UsageError(message, remedy=remedy, option=option, received=received)


def shortage(error: BaseException | None) -> str | None:
    """What the system has not or does not take, in a line; None if that is not why."""
    while error is not None:
        number = error.errno if isinstance(error, OSError) else None
        said = str(error)
        if number in (errno.ENOSPC, errno.EDQUOT):
            return f"the output must be written somewhere. Received: {os.strerror(number)}."
        if number == errno.ENAMETOOLONG:
            return f"a name must be one that a file can have. Received: {said}."
        if number == errno.ENOENT and "temporary directory" in said:
            return (
                "there must be a folder for temporary files. "
                "Received: none that can be written; name one: TMPDIR=FOLDER fmnist ..."
            )
        if number in (errno.EMFILE, errno.ENFILE):
            return (
                "this process must be able to open more files. "
                f"Received: {os.strerror(number)}; raise the limit: ulimit -n 1024."
            )
        if (
            isinstance(error, MemoryError)
            or number == errno.ENOMEM
            or any(why in said for why in _NO_MEMORY)
        ):
            received = os.strerror(number) if number else said.strip() or "a MemoryError"
            received = received.splitlines()[-1].strip()
            return (
                f"there must be enough memory. Received: {received}. Close what else runs, or "
                "raise the limit (ulimit -v)."
            )
        error = error.__cause__ or error.__context__
    return None
