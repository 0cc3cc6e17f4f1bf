"""Downloads from the public mirrors."""

from __future__ import annotations

import http.client
import os
import queue
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from fmnist_cli.engine.data.folder import Progress, verify_official
from fmnist_cli.engine.data.official import DataFile
from fmnist_cli.errors import ChecksumError, DataError
from fmnist_cli.version import __version__

ANSWER_SECONDS = 6.0  # for the name, the connection, redirects and the headers together
STALL_SECONDS = 10.0  # without a byte
_MOST_BYTES = 64 << 20  # the largest file has 26 MB
_CHUNK_BYTES = 1 << 16


def download(
    files: Sequence[DataFile],
    mirrors: Sequence[str],
    work: Path,
    keep: Callable[[DataFile, Path], None],
    on_progress: Progress,
    answer_seconds: float,
) -> tuple[list[DataFile], list[str]]:
    """Fetch files from the first mirror that has them; on a failure try the next.

    Parameters
    ----------
    work : Path
        A private folder for what is not yet verified.
    keep : callable
        Given each verified file's gzipped copy in ``work``, to put it where it belongs.
    answer_seconds : float > 0
        How long a mirror may take to answer; then the next one is asked.

    Returns
    -------
    files, reasons
        The files that no mirror gave, and one sentence per mirror that failed.
    """
    left, reasons = list(files), []
    for mirror in mirrors:
        try:
            while left:
                path = work / f"{left[0].name}.gz"
                _download_file(left[0], mirror, path, on_progress, answer_seconds)
                keep(left.pop(0), path)
        except _RefusedError as error:
            reasons.append(f"{urllib.parse.urlsplit(mirror).netloc}: {error}")
    return left, reasons


class _RefusedError(Exception):
    """Why a mirror is given up, in a few words."""


def _download_file(
    file: DataFile, mirror: str, path: Path, on_progress: Progress, answer_seconds: float
) -> None:
    url = f"{mirror.rstrip('/')}/{path.name}"
    label = f"{path.name} from {urllib.parse.urlsplit(mirror).netloc}"
    try:
        with _open(url, answer_seconds) as response:
            _receive(response, path, label, on_progress)
    except (OSError, http.client.HTTPException) as error:
        raise _RefusedError(_words(error)) from None
    try:
        verify_official(file, path)
    except ChecksumError:
        raise _RefusedError(f"{path.name} is not the official file (SHA-256 differs)") from None
    except DataError as error:
        raise _RefusedError(str(error).replace(str(path), path.name).rstrip(".")) from None


def _receive(
    response: http.client.HTTPResponse, path: Path, label: str, on_progress: Progress
) -> None:
    kind = response.headers.get_content_type()
    if kind in ("text/html", "application/xhtml+xml"):
        raise _RefusedError(f"{path.name} came as a web page")
    announced = response.headers.get("Content-Length")
    total = int(announced) if announced is not None and announced.isdecimal() else None
    done = 0
    with path.open("wb") as out:
        on_progress(label, 0, total)
        while chunk := response.read(_CHUNK_BYTES):
            out.write(chunk)
            done += len(chunk)
            if done > _MOST_BYTES:
                raise _RefusedError(f"{path.name} has more than {_MOST_BYTES} bytes")
            on_progress(label, done, total)
        out.flush()
        os.fsync(out.fileno())
    if total is not None and done != total:
        raise _RefusedError(f"{path.name} ended after {done} of {total} bytes")


def _open(url: str, answer_seconds: float) -> http.client.HTTPResponse:
    """``urlopen`` within ``answer_seconds`` in all.

    Its own timeout counts anew for each address of a host and not at all for looking up the
    name, so it runs in a thread that can be left behind.
    """
    request = urllib.request.Request(url, headers={"User-Agent": f"fmnist/{__version__}"})
    answer: queue.SimpleQueue[http.client.HTTPResponse | Exception] = queue.SimpleQueue()
    given_up = threading.Event()

    def ask() -> None:
        try:
            response = urllib.request.urlopen(request, timeout=max(STALL_SECONDS, answer_seconds))
        except Exception as error:
            answer.put(error)
            return
        if given_up.is_set():
            response.close()
        answer.put(response)

    threading.Thread(target=ask, daemon=True).start()
    try:
        result = answer.get(timeout=answer_seconds)
    except queue.Empty:
        given_up.set()
        raise _RefusedError(f"no answer within {answer_seconds:g} s") from None
    if isinstance(result, urllib.error.HTTPError):
        result.close()
    if isinstance(result, Exception):
        raise result
    return result


def _words(error: Exception) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return str(cause) or type(cause).__name__
