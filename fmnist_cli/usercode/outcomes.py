"""What the user's code gave, in a form that can be sent: an outcome.

``{"array": ..., "kind": ...}``, or ``{"error": ..., "text": ..., "line": ...}`` where it raised.
"""

from __future__ import annotations

import contextlib
import io
import traceback
import warnings
from collections.abc import Iterator, Mapping
from dis import opmap
from typing import Any

import numpy as np

from fmnist_cli.errors import Stopped
from fmnist_cli.usercode.parts import NotFoundError

Outcome = dict[str, Any]

LARGEST_OUTPUT = 1_000_000  # characters that a file may print in one operation
# by reference: a file may replace NumPy's names
_ndarray, _asarray, _array = np.ndarray, np.asarray, np.array


class OutputLimitError(BaseException):
    """The file printed too much. Not an Exception, so that the file does not swallow it."""


class Printed(io.StringIO):
    def write(self, text: str) -> int:
        if self.tell() + len(text) > LARGEST_OUTPUT:
            raise OutputLimitError(f"printed more than {LARGEST_OUTPUT:,} characters")
        return super().write(text)


def outcome_of(value: Any) -> Outcome:
    """A value as an outcome: an array of numbers and what it was, or what it was alone."""
    kind = type(value).__name__
    if value is None or isinstance(value, str):
        return {"array": None, "kind": kind}
    try:
        array = _asarray(value)
    except (ValueError, TypeError):
        return {"array": None, "kind": kind}
    if array.dtype.kind not in "biufc" or isinstance(value, tuple):
        return {"array": None, "kind": kind}
    return {"array": _array(array), "kind": kind}


def numbers_of(value: Any) -> list[float]:
    """The numbers in a returned value, in order: a number, a sequence, a dictionary of them."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [number for item in value for number in numbers_of(item)]
    if isinstance(value, _ndarray):
        return [float(number) for number in value.ravel()[:1000].tolist()]
    if isinstance(value, bool | int | float | np.number | np.bool_):
        return [float(value)]
    return []


def error_outcome(error: BaseException, filename: str) -> Outcome:
    """What was raised, and the last line of the user's file that it passed through.

    ``lacking``: a "model" was asked for an attribute, which a dictionary of layers has not.
    """
    if isinstance(error, NotFoundError):
        return {"error": "NotFound", "text": str(error), "line": None}
    lines = [
        line
        for frame, line in traceback.walk_tb(error.__traceback__)  # reads no file
        if frame.f_code.co_filename == filename
    ]
    try:
        text = str(error)
    except Exception:
        text = ""
    return {
        "error": type(error).__name__,
        "text": " ".join(text.split())[:300],
        "line": lines[-1] if lines else None,
        "lacking": "model" if isinstance(error, AttributeError) and _is_model(error.obj) else "",
    }


def _is_model(value: Any) -> bool:
    return isinstance(value, dict) and any(hasattr(one, "forward") for one in value.values())


def is_from_outside(error: BaseException, filename: str) -> bool:
    """Whether a signal, such as Ctrl-C's, ended the file's code, not a ``raise`` of its own.

    A signal's exception comes between two instructions, or from its handler.
    """
    if not isinstance(error, KeyboardInterrupt | Stopped):
        return False
    last = error.__traceback__
    assert last is not None
    while last.tb_next is not None:
        last = last.tb_next
    code = last.tb_frame.f_code
    raised = code.co_code[last.tb_lasti] == opmap["RAISE_VARARGS"]
    return not (raised and code.co_filename == filename)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Neither what the file prints nor its warnings are shown."""
    with (
        contextlib.redirect_stdout(Printed()),
        contextlib.redirect_stderr(Printed()),
        warnings.catch_warnings(),
        np.errstate(all="ignore"),
    ):
        warnings.simplefilter("ignore")
        yield
