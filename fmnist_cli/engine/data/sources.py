"""Where Fashion-MNIST comes from: the chain of sources, and the download that ends it.

The first source that holds all four files, sound and official, wins: the folder that the user
named; fmnist's own cache; the folders where other programs leave the files; the mirrors; apt.
The folder that the user named is never passed over: what is wrong with it is an error.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fmnist_cli.engine.data import apt, official
from fmnist_cli.engine.data.cache import Decoded, cache_folder, decode
from fmnist_cli.engine.data.folder import (
    Contents,
    FileReport,
    Folder,
    Progress,
    bytes_below,
    locate_files,
    missing_names,
    open_folder,
    verify_folder,
    verify_official,
)
from fmnist_cli.engine.data.official import LICENCE, DataFile
from fmnist_cli.errors import ChecksumError, DataError
from fmnist_cli.files import expand

_GIVEN = "the folder that was given"
_OWN = "fmnist's cache"
_PARTIAL_PREFIX = ".partial-"
_LOCK_POLL_SECONDS = 0.1

SourceState = Literal["absent", "incomplete", "unusable", "custom", "official"]


@dataclass(frozen=True)
class SourceReport:
    """Where one folder of the chain stands.

    Attributes
    ----------
    state : str
        absent (no folder, or none of the files), incomplete, unusable (a file is bad), custom
        (sound but not Fashion-MNIST's), official.
    detail : str
        Which files are missing, or what is wrong; "" if nothing is.
    wins : bool
        This is the one that is used.
    """

    source: str
    folder: Path
    state: SourceState
    detail: str
    wins: bool


@dataclass(frozen=True)
class DataInfo:
    """The whole chain, looked at without a download.

    Attributes
    ----------
    sources : tuple of SourceReport
        In the order of the chain.
    fingerprint : str or None
        Of the data that is used; None where a download would be needed.
    cache_bytes : int
        All that fmnist keeps there, the decoded copies included.
    """

    sources: tuple[SourceReport, ...]
    mirrors: tuple[str, ...]
    has_apt: bool
    fingerprint: str | None
    is_official: bool
    cache: Path
    cache_bytes: int
    licence: str


def own_folder() -> Path:
    """Where fmnist keeps the four files that it downloaded."""
    return cache_folder() / "fashion-mnist"


def candidates() -> list[tuple[str, Path]]:
    """(source, folder) of every place that is looked at when the user named none."""
    home = expand("~")  # itself where there is no home: then nothing is there
    keras_home = Path(os.environ.get("KERAS_HOME") or home / ".keras")
    return [
        (_OWN, own_folder()),
        ("Keras' cache", keras_home / "datasets/fashion-mnist"),
        ("torchvision's folder", Path("data/FashionMNIST/raw")),
        ("torchvision's folder", home / "data/FashionMNIST/raw"),
        (f"Debian's package {apt.PACKAGE}", apt.INSTALLED_FOLDER),
    ]


def find(data_dir: Path | None = None, *, allow_custom: bool = False) -> Decoded | None:
    """The content of the folder that is used, or None where a download is needed; never downloads.

    Raises
    ------
    DataError
        When ``data_dir`` is given and lacks a file or holds a bad one.
    ChecksumError
        When ``data_dir`` is sound but not Fashion-MNIST, and ``allow_custom`` is false.
    """
    return _explicit(data_dir, allow_custom) if data_dir is not None else _look_around([])


def _explicit(path: Path, allow_custom: bool) -> Decoded:
    folder = open_folder(path, _GIVEN)
    decoded = decode(folder)
    if not allow_custom:
        digests = decoded.contents.digests
        for file, held, digest in zip(official.FILES, folder.files, digests, strict=True):
            if digest != file.sha256:
                raise ChecksumError(
                    f"{held} must be Fashion-MNIST's, of SHA-256 {file.sha256}. Found: {digest}.",
                    remedy="allow_custom_data",
                )
    return decoded


def _look_around(reasons: list[str]) -> Decoded | None:
    """The first candidate that is complete and official; why others were passed over."""
    for source, path in candidates():
        try:
            if not locate_files(path):
                continue
            decoded = decode(open_folder(path, source))
        except DataError as error:
            reasons.append(str(error).rstrip("."))
            continue
        if decoded.contents.is_official:
            return decoded
        reasons.append(f"{path} holds other data (SHA-256 differs)")
    return None


def fetch(
    *,
    force: bool = False,
    mirror_urls: Sequence[str] | None = None,
    answer_seconds: float | None = None,
    on_progress: Progress | None = None,
) -> Folder:
    """See to it that the official files are on this machine, downloading them if they are not.

    Parameters
    ----------
    force : bool, default False
        Download all four into fmnist's cache even if they are held somewhere.
    mirror_urls : sequence of str, optional
        Base URLs to try in order; by default ``official.MIRRORS``.
    answer_seconds : float > 0, optional
        How long each may take to answer, by default ``mirrors.ANSWER_SECONDS``.

    Returns
    -------
    Folder
        The one that holds them.

    Raises
    ------
    DataError
        When no source has them; its message says what was wrong with each.
    """
    on_progress = on_progress or (lambda label, done_bytes, total_bytes: None)
    urls = official.MIRRORS if mirror_urls is None else mirror_urls
    reasons: list[str] = []
    if not force and (found := _look_around(reasons)) is not None:
        return found.folder
    cache = cache_folder()
    try:
        with _locked(cache, on_progress):
            store = own_folder()
            store.mkdir(exist_ok=True)
            wanted = [file for file in official.FILES if force or not _is_official(file, store)]
            with tempfile.TemporaryDirectory(dir=cache, prefix=_PARTIAL_PREFIX) as work:
                sources = _downloads(Path(work), urls, answer_seconds, on_progress)
                left = _download(wanted, store, sources, reasons)
    except OSError as error:
        raise DataError(
            f"fmnist's cache {cache} must be writable to download Fashion-MNIST. "
            f"Found: {error.strerror or error}; set XDG_CACHE_HOME to have it elsewhere.",
            remedy="name_data_folder",
        ) from error
    if left:
        raise DataError(
            f"Fashion-MNIST must be on this machine or within reach. Found: {'; '.join(reasons)}.",
            remedy="name_data_folder",
        )
    return open_folder(store, _OWN)


def _is_official(file: DataFile, store: Path) -> bool:
    try:
        verify_official(file, store / f"{file.name}.gz")
    except DataError:
        return False
    return True


def _download(
    wanted: Sequence[DataFile],
    store: Path,
    sources: Iterable[Callable[[DataFile], Path]],
    reasons: list[str],
) -> list[DataFile]:
    """From the first source that has them; the files that none gave. Caller holds the lock."""
    left = list(wanted)
    for get in sources:
        try:
            while left:
                path = get(left[0])
                path.replace(store / path.name)
                left.pop(0)
        except DataError as error:
            reasons.append(str(error).rstrip("."))
    return left


def _downloads(
    work: Path, mirror_urls: Sequence[str], answer_seconds: float | None, on_progress: Progress
) -> list[Callable[[DataFile], Path]]:
    """The sources of a download in order, the mirrors and apt: each fetches a file into ``work``,
    verifies it and returns its path, or raises a DataError."""
    from fmnist_cli.engine.data import mirrors  # brings http and ssl, of use only here

    seconds = mirrors.ANSWER_SECONDS if answer_seconds is None else answer_seconds

    @functools.cache
    def unpacked() -> Path:
        return apt.fetch_package(work, on_progress)

    def from_apt(file: DataFile) -> Path:
        path = unpacked() / f"{file.name}.gz"
        verify_official(file, path)
        return path

    from_mirror = functools.partial(
        mirrors.fetch_file, work=work, on_progress=on_progress, answer_seconds=seconds
    )
    return [*(functools.partial(from_mirror, mirror=url) for url in mirror_urls), from_apt]


@contextlib.contextmanager
def _locked(cache: Path, on_progress: Progress) -> Iterator[None]:
    """Hold the cache's lock; a second process waits here and then finds the files."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("ab") as lock:
        while True:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            on_progress("waiting for another fmnist's download", 0, None)
            time.sleep(_LOCK_POLL_SECONDS)
        for left in cache.glob(f"{_PARTIAL_PREFIX}*"):  # its process was killed: the lock is ours
            shutil.rmtree(left, ignore_errors=True)
        yield


def verify(data_dir: Path | None = None) -> list[FileReport]:
    """Compare four files with the official ones, bit for bit; never downloads.

    They are those in ``data_dir``, or else in the first folder of the chain that holds all
    four, whatever is in them. The decoded cache is not asked.

    Raises
    ------
    DataError
        When there is no such folder.
    """
    if data_dir is not None:
        return verify_folder(data_dir)
    for source, path in candidates():
        with contextlib.suppress(DataError):
            return verify_folder(open_folder(path, source).path)
    raise DataError(
        "Fashion-MNIST must be on this machine to be verified. Found: no folder that holds its "
        "four files.",
        remedy="fetch_data",
    )


def info(data_dir: Path | None = None, *, allow_custom: bool = False) -> DataInfo:
    """Where each source stands and which one is used; downloads nothing, raises nothing of it."""
    places = candidates()
    if data_dir is not None:
        places.insert(0, (_GIVEN, data_dir))
    reports: list[SourceReport] = []
    used: Contents | None = None
    for i, (source, path) in enumerate(places):
        state, detail, decoded = _state(source, path)
        explicit = data_dir is not None and i == 0
        usable = state == "official" or (explicit and allow_custom and state == "custom")
        # A folder that the user named is the only one that may be used, good or bad.
        wins = usable and used is None and (explicit or data_dir is None)
        if wins and decoded is not None:
            used = decoded.contents
        reports.append(SourceReport(source, path, state, detail, wins))
    cache = cache_folder()
    return DataInfo(
        sources=tuple(reports),
        mirrors=official.MIRRORS,
        has_apt=apt.is_available(),
        fingerprint=used.fingerprint if used else None,
        is_official=used is not None and used.is_official,
        cache=cache,
        cache_bytes=bytes_below(cache),
        licence=LICENCE,
    )


def _state(source: str, path: Path) -> tuple[SourceState, str, Decoded | None]:
    try:
        held = locate_files(path)
        if not held:
            return "absent", "", None
        if missing := missing_names(held):
            return "incomplete", f"missing: {', '.join(missing)}", None
        decoded = decode(open_folder(path, source))
    except DataError as error:
        return "unusable", str(error), None
    if decoded.contents.is_official:
        return "official", "", decoded
    return "custom", "not Fashion-MNIST's SHA-256", decoded
