"""What may be said of a run afterwards: tags, a note, a name. Its digest leaves them out."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sqlalchemy import delete, insert, select, update

from fmnist_cli.errors import require
from fmnist_cli.registry.database.base import Database
from fmnist_cli.registry.schema import run, tag
from fmnist_cli.registry.soundness import is_displayable
from fmnist_cli.registry.values import clean

MAX_TAG = 64
MAX_TEXT = 10_000


def add_tags(database: Database, run_id: int, tags: Sequence[str]) -> None:
    """Put tags on a run; UsageError for one that cannot be a tag."""
    for one in tags:
        # no commas, which separate tags, nor what a shell or a terminal takes for its own
        is_tag = re.fullmatch(rf"[\w.:/+@=-]{{1,{MAX_TAG}}}", one) is not None
        must = f"a tag must be 1 to {MAX_TAG} letters, digits or any of ._:/+@=- in a row"
        require(is_tag, must, repr(one))
    with database.write() as connection:
        connection.execute(select(run.c.id).where(run.c.id == run_id).with_for_update())
        there = set(connection.execute(select(tag.c.tag).where(tag.c.run_id == run_id)).scalars())
        new = [{"run_id": run_id, "tag": one} for one in dict.fromkeys(tags) if one not in there]
        if new:
            connection.execute(insert(tag), new)


def remove_tags(database: Database, run_id: int, tags: Sequence[str]) -> None:
    """Take tags off a run, whether they are on it or not."""
    with database.write() as connection:
        connection.execute(delete(tag).where(tag.c.run_id == run_id, tag.c.tag.in_(tags)))


def is_taken_as_id(name: str) -> bool:
    """Whether it names another run than the one of that name."""
    return re.fullmatch(r"\s*([0-9]+|latest|[0-9a-f]{32}|)\s*", name) is not None


def set_text(database: Database, run_id: int, column: str, text: str) -> None:
    """Set a run's ``name`` or ``note``; an empty text takes it away.

    UsageError for one that is too long or holds control characters.
    """
    must = f"a {column} must have at most {MAX_TEXT:,} characters"
    require(len(text) <= MAX_TEXT, must, f"{len(text):,}")
    is_shown = is_displayable(text, allowed="\n\t" if column == "note" else "")
    require(is_shown, f"a {column} must have no control characters", repr(text[:100]))
    value = clean(text, {}) or None
    if column == "name" and value is not None:
        require(
            not is_taken_as_id(text),
            "a name must be other than a run's id, a uuid and latest, which say which run is meant",
            text,
        )
    with database.write() as connection:
        if column == "name" and value is not None:
            other = select(run.c.id).where(run.c.name == value, run.c.id != run_id).limit(1)
            taken = connection.execute(other).scalar()
            require(taken is None, f"a name must be that of one run; run {taken} has it", text)
        connection.execute(update(run).where(run.c.id == run_id).values({column: value}))
