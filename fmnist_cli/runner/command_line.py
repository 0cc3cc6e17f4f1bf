"""How a recorded run or study is typed again: pure functions of what was recorded."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmnist_cli.engine.config import MODELS, USER_ENGINE, TrainConfig

if TYPE_CHECKING:
    from fmnist_cli.analysis.why.causes import Explanation
    from fmnist_cli.registry import RunRecord

_TAKEN_ALONG = ("--check-gradient", "--check-magnitude", "--dynamics")


def asked_for_dynamics(argv: Sequence[str]) -> bool:
    """Whether the command line asks for each epoch's dynamics."""
    return "--dynamics" in argv


def was_typed(argv: Sequence[str]) -> bool:
    """Whether it is a command line; a call from Python is recorded as one word."""
    return len(argv) > 1


def continue_command(argv: Sequence[str]) -> str:
    """What continues the study that was started so; a call from Python as it is."""
    if not was_typed(argv):
        return "".join(argv)
    return shlex.join(_absolute(_without_new(argv), None))


def figure_words(explanation: Explanation) -> str:
    """What draws the figure that shows it, after ``fmnist``."""
    axis = f" --x {explanation.axis}" if explanation.axis else ""
    return f"{explanation.figure}{axis}"


def figure_commands(
    explanations: Iterable[Explanation], command: Callable[[str], str] = "fmnist {}".format
) -> tuple[str, ...]:
    """What draws the figures that show them, each once; ``command`` makes words a command."""
    return tuple(dict.fromkeys(command(figure_words(one)) for one in explanations))


def resume_words(run_id: int, argv: Sequence[str], data_folder: str | None = None) -> str:
    """What resumes a run, after ``fmnist``, with the data that it was given."""
    data = option_words("--data-dir", argv)
    return shlex.join(["train", "--resume", str(run_id), *_absolute(data, data_folder)])


def resume_hint(
    run: RunRecord,
    data_folder: str | None = None,
    taken: Mapping[str, Any] | None = None,
    seeds: Sequence[int] = (),
) -> str | None:
    """What to type after ``fmnist`` to continue a run that was interrupted, or None.

    Parameters
    ----------
    data_folder : str, optional
        Where the run's data was found, as its environment says.
    taken : mapping from str, optional
        What the run's command takes today where nothing is typed, by the option's name.
    seeds : sequence of int
        Of the study that the run is of.
    """
    if run.status not in ("interrupted", "lost", "failed"):
        return None
    if run.study_id is not None:
        if not was_typed(run.argv):
            return None
        words = _absolute(_without_new(run.argv)[1:], data_folder)
        return shlex.join([*words, *_decided(run, words, taken or {}, sorted(seeds))])
    return resume_words(run.id, run.argv, data_folder) if run.command == "train" else None


def _decided(
    run: RunRecord, words: Sequence[str], taken: Mapping[str, Any], seeds: Sequence[int]
) -> list[str]:
    """The options that a file or the environment set, where the words have none of them."""
    typed = {word.partition("=")[0] for word in words}
    values = {name: run.config[name] for name in run.config if name in taken}
    found = []
    own_seeds = run.init_seed is not None and "init_seed" not in taken  # the study chose them
    if seeds and not own_seeds and not typed & {"--seeds", "--seed-list"}:
        found = seed_words(seeds, seeds[0], taken.get("seeds", 1))
        values["seed"] = None if "--seed-list" in found else seeds[0]
    usual = TrainConfig(model=run.model) if run.model in MODELS else TrainConfig()
    for name, value in values.items():
        flag = f"--{name.replace('_', '-')}"
        # what is left open, such as the engine, the configuration decides
        default = getattr(usual, name) if taken[name] in (None, "auto") else taken[name]
        if flag not in typed and value is not None and not _same(value, default):
            found += [flag, str(value)]
    return found


def seed_words(seeds: Sequence[int], first: int, usual: object = 1) -> list[str]:
    """What gives a study its seeds, where ``--seeds`` counts from ``first`` and is ``usual``."""
    if [*seeds] != [*range(first, first + len(seeds))]:
        return ["--seed-list", ",".join(map(str, seeds))]
    return [] if _same(len(seeds), usual) else ["--seeds", str(len(seeds))]


def repeat_command(
    run: RunRecord, data_folder: str | None = None, today: Mapping[str, Any] | None = None
) -> str:
    """What to type to train the run again, wherever that is.

    Of a trained run it is ``fmnist train`` with what was recorded, which neither the environment
    nor a study decides; of any other, what was typed, and what was decided for it.

    Parameters
    ----------
    data_folder : str, optional
        Where the run's data was found, as its environment says.
    today : mapping from str, optional
        The defaults that a file or the environment sets at present for the command, by the
        option's name.
    """
    today = today or {}
    typed = list(run.argv[1:])
    trained = run.command == "train" or run.arm is not None
    words = ["train"] if trained else _absolute(typed, data_folder)
    usual = TrainConfig(model=run.model) if run.model in MODELS else TrainConfig()
    if trained and (run.model != TrainConfig.model or "model" in today):
        words += ["--model", run.model]
    for name, value in run.config.items():
        if name == "engine" and value == USER_ENGINE:
            words += option_words("--layers", typed)
            continue
        flag = f"--{name.replace('_', '-')}"
        default = today.get(name, getattr(usual, name))
        if name == "model" or flag in words or (not trained and name not in today):
            continue
        if not _same(value, default):
            none = name == "patience" and value is None
            words += ["--no-early-stop"] if none else [flag, str(value)]
    if trained:
        if {"seeds", "seed_list"} & today.keys():
            words += ["--seeds", "1"]
        words += [word for word in typed if word in _TAKEN_ALONG]
        words += _data_words(run, data_folder, today)
    return shlex.join(["fmnist", *words])


def _same(value: Any, default: Any) -> bool:
    """Whether a default, which the environment gives as text, is the value."""
    if isinstance(value, float | int) and isinstance(default, str | float | int):
        try:
            return float(default) == float(value)
        except ValueError:
            return False
    return str(value) == str(default)


def _data_words(run: RunRecord, folder: str | None, today: Mapping[str, Any]) -> list[str]:
    """What gives the run's data: the folder if one was typed or would be taken otherwise."""
    from fmnist_cli.engine.data import OFFICIAL_FINGERPRINT

    words = _absolute(option_words("--data-dir", run.argv), folder)
    custom = run.data_fingerprint != OFFICIAL_FINGERPRINT
    if folder and not words and (custom or "data_dir" in today):
        words = ["--data-dir", folder]
    accept = custom or "--allow-custom-data" in run.argv
    return [*words, *(["--allow-custom-data"] if accept else [])]


def _absolute(words: Sequence[str], data_folder: str | None) -> list[str]:
    """The words with the data's folder as it is called from anywhere."""
    changed = list(words)
    for i, word in enumerate(words):
        if word.startswith("--data-dir="):
            changed[i] = f"--data-dir={data_folder or Path(word.partition('=')[2]).absolute()}"
        elif i and words[i - 1] == "--data-dir":
            changed[i] = data_folder or str(Path(word).absolute())
    return changed


def _without_new(argv: Sequence[str]) -> list[str]:
    return [word for word in argv if word != "--new"]


def layers_file(argv: Sequence[str]) -> list[str]:
    """The name of the file whose layers a run trained; none where it trained the engine's."""
    return [Path(word.rpartition("=")[2]).name for word in option_words("--layers", argv)[-1:]]


def option_words(flag: str, argv: Sequence[str]) -> list[str]:
    """An option that takes a value, as it was typed; no words where it was not."""
    for i, word in enumerate(argv):
        if word == flag:
            return list(argv[i : i + 2])
        if word.startswith(f"{flag}="):
            return [word]
    return []
