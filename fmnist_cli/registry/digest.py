"""A digest of an ended run's values, by which a changed bit in the file is found.

SQLite's integrity check looks at the structure of the file, not at the numbers in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, select

from fmnist_cli.registry.schema import PARTS, run
from fmnist_cli.registry.values import to_json

# what another registry, or a new name, note or place, may change without changing the run
_NOT_DIGESTED = frozenset({"id", "run_id", "study_id", "path", "digest", "note", "heartbeat_at"})
# columns that a later schema added, with what they say of the runs from before
_ADDED = {("augment", "none"), ("head", "flatten"), ("resumes", 0)}


def stored_digest(connection: Connection, run_id: int) -> str | None:
    """SHA-256 over a run's row and the rows of its parts, as they are stored; None if no such run.

    NULLs and the defaults of columns that a later schema added are left out, so that they leave
    old digests valid.
    """
    row = connection.execute(select(run).where(run.c.id == run_id)).first()
    if row is None:
        return None
    sha = hashlib.sha256(_line("run", {**row._mapping, "name": None}))  # a run may be renamed
    for table in PARTS:
        # sorted here: databases differ in how they order texts
        key = [column.name for column in table.primary_key]
        parts = connection.execute(select(table).where(table.c.run_id == run_id)).mappings()
        for part in sorted(parts, key=lambda part: [part[name] for name in key]):
            sha.update(_line(table.name, part))
    return sha.hexdigest()


def _line(table: str, row: Mapping[Any, Any]) -> bytes:
    kept = {
        k: row[k]
        for k in sorted(row)
        if k not in _NOT_DIGESTED and row[k] is not None and (k, row[k]) not in _ADDED
    }
    return to_json([table, kept]).encode() + b"\n"
