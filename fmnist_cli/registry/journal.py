"""A run's own journal: where its numbers go while the registry cannot be written.

A file of JSON lines, each ``[kind, row]`` and on the disk before the training goes on: first the
run's own row and the registry's path, then every epoch and whatever else was recorded, last its
end. It is complete, so that even a registry that has lost the run gets it back.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from fmnist_cli.errors import RegistryError
from fmnist_cli.registry import schema
from fmnist_cli.registry.rows import TABLES, Entry
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

    def sync(self) -> None:
        """Write the entries that are not on the disk yet, wherever there is room."""
        if self.path is not None and self._append(self.path):
            return
        self.path, self._n_written = None, 0
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
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.unlink(missing_ok=True)
            place.touch(mode=0o600, exist_ok=False)  # in /tmp, never through somebody's link
        except OSError:
            return False
        return True

    def _append(self, place: Path) -> bool:
        new = self._entries[self._n_written :]
        try:
            with place.open("r+b") as file:  # a file that is gone is not made again, headless
                file.seek(0, os.SEEK_END)
                file.write(b"".join(to_json(entry).encode() + b"\n" for entry in new))
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            return False
        self._n_written += len(new)
        return True


def read_journal(path: Path) -> list[Entry]:
    """The entries of a file; a last line that was cut short is left out.

    Raises
    ------
    RegistryError
        When it cannot be read, or is no journal.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise RegistryError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        entries: list[Entry] = [(kind, dict(row)) for kind, row in map(json.loads, lines[:-1])]
    except (ValueError, TypeError) as error:
        raise RegistryError(f"{path} is damaged: {error}.") from error
    if not entries or entries[0][0] != "run" or "uuid" not in entries[0][1]:
        raise RegistryError(f"{path} must be the journal of a run. Its first line is none.")
    for kind, row in entries:
        known = set(TABLES.get(kind, schema.run).c.keys())
        unknown = row.keys() - (known | {"registry"} if kind == "run" else known)
        if kind not in {*TABLES, "run", "end"} or unknown:
            raise RegistryError(
                f"{path} must hold what this fmnist knows; upgrade it. "
                f"Received: {kind} {', '.join(sorted(unknown))}."
            )
    return entries
