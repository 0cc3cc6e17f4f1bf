"""A run's own journal: where its numbers go while the registry cannot be written.

A file of lines, each the JSON of ``[kind, row]``, a tab, and the SHA-256 of that and of the line
before (the first versions wrote the JSON alone), and on the disk before the training continues:
first the run's own row and the registry's path, then every epoch and whatever else was recorded,
last its end. It is complete, so that even a registry that has lost the run gets it back.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fmnist_cli.errors import RegistryError
from fmnist_cli.files import open_regular
from fmnist_cli.registry import schema
from fmnist_cli.registry.rows import TABLES, Entry
from fmnist_cli.registry.soundness import unsound
from fmnist_cli.registry.values import to_json

SUFFIX = ".journal"


class Journal:
    """Puts a growing list of entries on the disk.

    Parameters
    ----------
    entries : list of Entry
        Shared with the run that adds to it.
    folders : sequence of Path
        Tried in this order.
    name : str
        The file's, without its suffix.

    Attributes
    ----------
    path : Path or None
        The file that holds all entries; None before the first ``sync``, and where no folder takes
        them.
    """

    def __init__(self, entries: list[Entry], folders: Sequence[Path], name: str) -> None:
        self.path: Path | None = None
        self._entries = entries
        self._places = [folder / f"{name}{SUFFIX}" for folder in folders]
        self._n_written = 0
        self._digest = ""  # of the last line

    def sync(self) -> None:
        """Write the entries that are not on the disk yet, wherever there is room."""
        if self.path is not None and self._append(self.path):
            return
        self.path = None
        for place in self._places:
            if self._begin(place) and self._append(place):
                self.path = place
                return

    def remove(self) -> None:
        """Remove the file: the registry has it all."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
            self.path = None

    def _begin(self, place: Path) -> bool:
        self._n_written, self._digest = 0, ""
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.unlink(missing_ok=True)
            place.touch(mode=0o600, exist_ok=False)  # in /tmp, never through somebody's link
        except OSError:
            return False
        return True

    def _append(self, place: Path) -> bool:
        new, digest = [], self._digest
        for entry in self._entries[self._n_written :]:
            text = to_json(entry)
            digest = _chained(digest, text)
            new.append(f"{text}\t{digest}\n")
        try:
            with place.open("r+b") as file:  # a file that is gone is not made again, headless
                file.seek(0, os.SEEK_END)
                file.write("".join(new).encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            return False
        self._n_written += len(new)
        self._digest = digest
        return True


def read_journal(path: Path) -> list[Entry]:
    """The entries of a file; a last line that is incomplete is left out.

    Raises
    ------
    RegistryError
        When it cannot be read, or is no journal.
    """
    try:
        with open_regular(path) as file:
            lines = file.read().split(b"\n")[:-1]
    except OSError as error:
        raise RegistryError(f"{path} cannot be read: {error.strerror}.", path=path) from error
    entries: list[Entry] = []
    try:
        digest, has_digests = "", bool(lines) and b"\t" in lines[0]
        for line in lines:
            text, _, found = line.decode().partition("\t")
            digest = _chained(digest, text)
            if has_digests and found != digest:
                raise ValueError(f"line {len(entries) + 1} is not the one that was written")
            kind, row = json.loads(text, parse_constant=_refuse)
            entries.append((kind, dict(row)))
    except (ValueError, TypeError, RecursionError) as error:
        raise RegistryError(f"{path} is damaged: {error}.", path=path) from error
    if not entries or entries[0][0] != "run" or "uuid" not in entries[0][1]:
        raise RegistryError(f"{path} must be the journal of a run. Its first line is none.")
    n = 0
    for number, (kind, row) in enumerate(entries, start=1):
        wrong = _wrong(kind, row, first=number == 1)
        if kind == schema.epoch.name and wrong is None:
            n += 1
            wrong = None if row["epoch"] == n else f"epoch {n} must come"
        if wrong is not None:
            raise RegistryError(
                f"{path} must hold what this fmnist records. Received in line {number}: {wrong}.",
                path=path,
            )
    return entries


def _wrong(kind: str, row: Mapping[str, Any], *, first: bool) -> str | None:
    """What is wrong with an entry, in a few words."""
    if kind not in (*TABLES, *(("run",) if first else ("end",))):
        return f"{kind!r:.40}"
    table = TABLES.get(kind, schema.run)
    values = {name: value for name, value in row.items() if (kind, name) != ("run", "registry")}
    missing = [
        column.name
        for column in table.c
        if not (column.nullable or column.server_default is not None or column.name == "id")
        and column.name not in values
    ]
    if missing and kind != "end":
        return f"no {', '.join(missing)}"
    return unsound(table, values)


def _chained(before: str, text: str) -> str:
    return hashlib.sha256(f"{before}{text}".encode()).hexdigest()


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")
