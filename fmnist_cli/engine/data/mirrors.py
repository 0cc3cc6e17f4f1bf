"""Downloads from the public mirrors."""

from __future__ import annotations

import http.client
import os
import queue
import threading
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from fmnist_cli.engine.data.folder import Progress, verify_official
from fmnist_cli.engine.data.official import DataFile
from fmnist_cli.errors import ChecksumError, DataError
from fmnist_cli.version import __version__

ANSWER_SECONDS = 6.0  # for the name, the connection, redirects and the headers together
STALL_SECONDS = 10.0  # without a byte
_MOST_BYTES = 64 << 20  # the largest file has 26 MB
_CHUNK_BYTES = 1 << 16


def fetch_file(
    file: DataFile, work: Path, on_progress: Progress, *, mirror: str, answer_seconds: float
) -> Path:
    """Fetch one file from a mirror into ``work``, a private folder, and verify it.

    ``answer_seconds`` is how long the mirror may take to answer.

    Raises
    ------
    DataError
        Which says, after the mirror's name and in a few words, why it is given up.
    """
    name, host = f"{file.name}.gz", urllib.parse.urlsplit(mirror).netloc
    path = work / name
    try:
        with _open(f"{mirror.rstrip('/')}/{name}", answer_seconds) as response:
            _receive(response, path, f"{name} from {host}", on_progress)
        verify_official(file, path)
    except (OSError, http.client.HTTPException) as error:
        reason = _words(error)
    except ChecksumError:
        reason = f"{name} is not the official file (SHA-256 differs)"
    except DataError as error:
        reason = str(error).replace(str(path), name).rstrip(".")
    else:
        return path
    raise DataError(f"{host}: {reason}")


def _receive(
    response: http.client.HTTPResponse, path: Path, label: str, on_progress: Progress
) -> None:
    kind = response.headers.get_content_type()
    if kind in ("text/html", "application/xhtml+xml"):
        raise DataError(f"{path.name} came as a web page")
    announced = response.headers.get("Content-Length")
    total = int(announced) if announced is not None and announced.isdecimal() else None
    done = 0
    with path.open("wb") as out:
        on_progress(label, 0, total)
        while chunk := response.read(_CHUNK_BYTES):
            out.write(chunk)
            done += len(chunk)
            if done > _MOST_BYTES:
                raise DataError(f"{path.name} has more than {_MOST_BYTES} bytes")
            on_progress(label, done, total)
        out.flush()
        os.fsync(out.fileno())
    if total is not None and done != total:
        raise DataError(f"{path.name} ended after {done} of {total} bytes")


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
        raise DataError(f"no answer within {answer_seconds:g} s") from None
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
