"""What to type about an error: the one place that turns an error's data into commands and flags."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from fmnist_cli.errors import FmnistError, Stopped
from fmnist_cli.formatting import without_password
from fmnist_cli.runner.command_line import continue_command, option_words, resume_words

_ADVICE: dict[str, str] = {
    "allow_custom_data": "Give --allow-custom-data to use another data set.",
    "another_registry": "Name another with --db.",
    "another_to_import": "Name another registry to import.",
    "disable_early_stopping": "Use --no-early-stop to train to the last epoch.",
    "fetch_data": "Get them with: fmnist data fetch",
    "list_runs": "See which there are: fmnist runs list",
    "list_studies": "See which there are: fmnist runs studies",
    "make_room_and_resume": "Make room, then: fmnist runs resume",
    "name_data_folder": "Name the folder that holds the files with --data-dir.",
    "open_once_writable": "Open it once as a user who may write it: fmnist runs list",
    "recover_journal": "Recover it with: fmnist runs recover",
    "shared_registry": (
        "Name one on a PostgreSQL server: "
        "--db postgresql+psycopg://user@host/database?files=/shared/folder"
    ),
    "show_run": "See its record: fmnist runs show {run_id}",
    "smaller_lr": "Try a smaller --lr.",
    "study": "Make one: fmnist {kind}",
    "train_dynamics": "Train one that does: fmnist train --dynamics",
    "train_first": "Train something first: fmnist train",
    "verify": "See what else: fmnist runs verify",
    "verify_or_delete": (
        "See what else: fmnist runs verify. To be rid of it: fmnist runs delete {run_id}"
    ),
    "upgrade_fmnist": "Upgrade fmnist, or name another file with --db.",
}


def advised(error: FmnistError) -> str:
    """The error's message, and what to do about it."""
    if error.remedy is None:
        return str(error)
    if error.remedy == "continue_study":
        return f"{error} Continue it with: {continue_command(error.argv)}"
    return f"{error} {_ADVICE[error.remedy].format_map(error.data)}"


def left_behind(word: str, error: BaseException, argv: Sequence[str]) -> str:
    """What ended the command, what is kept of its work, and how to continue.

    Parameters
    ----------
    word : str
        ``Interrupted`` or ``Terminated``.
    argv : sequence of str
        The command line that was stopped, from ``fmnist`` on.
    """
    kept = error.kept if isinstance(error, Stopped) else None
    notes = getattr(error, "__notes__", [])
    if kept is None:
        return f"{word}: {' '.join(notes)}" if notes else f"{word}."
    argv = [without_password(word) for word in argv]
    text = " ".join([f"{word}: {kept.text}", *notes])
    if kept.run_id is not None:
        words = [resume_words(kept.run_id, argv), *map(shlex.quote, option_words("--db", argv))]
        return f"{text}; continue with: fmnist {' '.join(words)}"
    if kept.repeat:
        return f"{text}; continue with: {continue_command(argv)}"
    return f"{text}."
