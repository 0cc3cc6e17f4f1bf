"""Files that appear whole or not at all, and output into what is no plain file."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from fmnist_cli.errors import ArtefactError, FmnistError, UsageError, require

TEMPORARY = ".fmnist-*.tmp"  # what a process that was killed may leave beside the file


def replace_file(
    path: Path, content: str | bytes | Iterable[bytes | memoryview], *, durable: bool = False
) -> None:
    """Write the file, or raise OSError and leave what was there; an existing file keeps its mode.

    Parameters
    ----------
    path : Path
        A link is replaced itself.
    content
        Several buffers are written one after the other.
    durable : bool
        Whether the file must be there even if the machine stops as soon as this returns.
    """
    if isinstance(content, str):
        content = _encoded(content)
    temporary = path.with_name(TEMPORARY.replace("*", os.urandom(8).hex()))
    try:
        with temporary.open("xb") as file:
            with suppress(FileNotFoundError):
                os.fchmod(file.fileno(), stat.S_IMODE(path.lstat().st_mode))
            file.writelines([content] if isinstance(content, bytes) else content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    if durable:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _encoded(text: str) -> bytes:
    """The text in UTF-8; what is none of a file's name is written ``\\udcff``, as it is shown."""
    return text.encode("utf-8", "backslashreplace")


def write_artefact(path: Path, content: str | bytes, *, durable: bool = False) -> None:
    """Write a file of a run: the file that a link names; ArtefactError where it cannot be."""
    try:
        replace_file(path.resolve(), content, durable=durable)
    except OSError as error:
        raise ArtefactError(
            f"{path} cannot be written: {error.strerror}.",
            remedy="make_room_and_resume",
            path=path,
        ) from error


def open_regular(path: Path) -> BufferedReader:
    """Open a file to be read; OSError for a FIFO, whose writer it would wait for, or a device."""
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return file


def write_file(
    path: Path, content: str | bytes, what: str = "the file", *, parents: bool = False
) -> None:
    """Write a file that the user named: the file that a link names, or into a pipe or a device.

    With ``parents`` its folder is made if it is absent.

    Raises
    ------
    UsageError
        When there can be no such file.
    FmnistError
        When it cannot be written to its end: the disk is full, the reader is gone.
    """
    data = _encoded(content) if isinstance(content, str) else content
    try:
        if parents:
            path.parent.mkdir(parents=True, exist_ok=True)
        stream = _stream(path)
        if stream is None:
            replace_file(Path(os.path.realpath(path)), data)
        else:
            with stream:
                stream.write(data)
    except OSError as error:
        of_the_path = FileNotFoundError | PermissionError | IsADirectoryError | NotADirectoryError
        kind = UsageError if isinstance(error, of_the_path) else FmnistError
        raise kind(
            f"{what} must be one that can be written. Received: {path} ({error.strerror})."
        ) from error


def _stream(path: Path) -> BinaryIO | None:
    """What is written into as it is: a pipe, a device, stdout or stderr by a name, a file in a
    closed folder; None where there is a file to be replaced, or none yet."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    for descriptor in (1, 2):  # were it replaced, what was written to it before would be lost
        with suppress(OSError):
            if os.path.samestat(status, os.fstat(descriptor)):
                return os.fdopen(os.dup(descriptor), "wb")
    folder = os.path.dirname(os.path.realpath(path))  # noqa: PTH120
    if stat.S_ISREG(status.st_mode) and os.access(folder, os.W_OK | os.X_OK):
        return None
    return path.open("wb")


def require_writable(path: Path, what: str) -> None:
    """Refuse now what ``write_file`` would refuse later; UsageError."""
    target = os.path.realpath(path)  # a link stays a link; the file it names is replaced
    require(not os.path.isdir(target), f"{what}'s name must not be that of a folder", path)  # noqa: PTH112
    if os.path.exists(target) and os.access(target, os.W_OK):  # noqa: PTH110
        return
    folder = os.path.dirname(target)  # noqa: PTH120
    require(os.path.isdir(folder), f"{what}'s folder must exist", path.parent)  # noqa: PTH112
    writable = os.access(folder, os.W_OK | os.X_OK)
    require(writable, f"{what}'s folder must be writable", path.parent)


def temporary_folders() -> tuple[Path, ...]:
    """The system's folder for temporary files; none where no such folder can be written."""
    import tempfile  # ten milliseconds, of use only to what writes

    try:
        return (Path(tempfile.gettempdir()),)
    except FileNotFoundError:
        return ()


def expand(path: str | Path) -> Path:
    """The path with a leading ``~`` or ``~user`` replaced, where there is such a home."""
    return Path(os.path.expanduser(path))  # noqa: PTH111  (Path.expanduser fails without one)


@contextmanager
def folders_removed_on_error(path: Path) -> Iterator[None]:
    """Where the body fails, the folders that it made for ``path`` go again, as far as empty."""
    missing = [one for one in (path, *path.parents) if not os.path.exists(one)]  # noqa: PTH110
    try:
        yield
    except BaseException:
        for folder in missing:
            with suppress(OSError):
                folder.rmdir()
        raise


def writable_folder(path: Path, what: str) -> Path:
    """The folder, made if it is absent; refused now if a file cannot be written there later."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".fmnist-{os.getpid()}.tmp"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UsageError(
            f"{what} must be a folder that can be written. Received: {path} ({error.strerror})."
        ) from error
    return path
