"""Every study on a terminal, read back from a screen emulator: messages stand above the bars."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pyte
import pytest

from fmnist_cli.host import signals_deferred

from .conftest import SMALL, Fmnist

BAR = re.compile(r"\d+%\||(epoch|run)(/s|s?\]|<)|\?(epoch|run)/s|s/(epoch|run)")
EPOCHS = ("--epochs", "60", "--no-early-stop")
STUDIES: dict[str, tuple[str, ...]] = {
    "sweep-batch": ("--batch", "20", "--batch", "50", *EPOCHS),
    "momentum": ("--alpha", "0", "--alpha", "0.5", "--epochs", "60"),
    "early-stop": ("--seeds", "2", "--epochs", "60"),
    "ood": ("--seeds", "2", *EPOCHS),
    "train": ("--seeds", "2", *EPOCHS),
    "sweep-lr": ("--lr", "0.01", "--lr", "0.02", *EPOCHS),
    "luck": ("--seeds", "2", *EPOCHS),
}
RUNS = {"luck": 4}  # each initial weights with each order


def on_terminal(
    *args: str, columns: int, term: str = "xterm", interrupt_at: str | None = None
) -> tuple[list[str], bytes, int]:
    """The lines that are left on a screen of so many columns, what was sent to it, and the exit
    code; Ctrl-C is typed as soon as ``interrupt_at`` has been on the screen."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    env = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-m", "fmnist_cli", *args],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env=env | {"TERM": term},
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(follower)
    sent = b""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if select.select([leader], [], [], 0.1)[0]:
            try:
                some = os.read(leader, 1 << 16)
            except OSError:  # the last process that had it open has ended
                break
            if not some:
                break
            sent += some
            if interrupt_at is not None and interrupt_at.encode() in sent:
                os.write(leader, b"\x03")
                interrupt_at = None
    else:
        os.killpg(process.pid, signal.SIGKILL)
        pytest.fail(sent.decode(errors="replace"))
    os.close(leader)
    screen = pyte.Screen(columns, 600)
    pyte.ByteStream(screen).feed(sent)
    lines = [line.rstrip() for line in screen.display]
    return lines, sent, process.wait()


def assert_nothing_is_broken(lines: list[str], summaries: int) -> None:
    assert [line for line in lines if BAR.search(line)] == []
    # each run's line begins in column 1 (a narrow screen may break it further on)
    found = [line for line in lines if re.search(r"best( epoch|$)", line) and ": best" in line]
    told = [line for line in found if re.match(r"\S.*: best( epoch \d+ of \d+|$)", line)]
    assert len(told) == len(found) == summaries, "\n".join(lines)


@pytest.mark.parametrize("columns", [60, pytest.param(100, marks=pytest.mark.slow), 200])
@pytest.mark.parametrize("command", STUDIES)
def test_a_study(fmnist: Fmnist, command: str, columns: int) -> None:
    lines, sent, code = on_terminal(command, *SMALL, *STUDIES[command], columns=columns)
    assert code == 0, "\n".join(lines)
    assert BAR.search(sent.decode())  # there was a bar
    assert_nothing_is_broken(lines, RUNS.get(command, 2))


@pytest.mark.slow
@pytest.mark.parametrize("columns", [60, 100, 200])
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_report(fmnist: Fmnist, columns: int, jobs: str) -> None:
    lines, sent, code = on_terminal("report", "--quick", *SMALL, "--jobs", jobs, columns=columns)
    assert code == 0, "\n".join(lines)
    assert BAR.search(sent.decode())
    assert_nothing_is_broken(lines, 3 + 5 + 1 + 5 + 3)  # sizes, rates, curve, momenta, models


def test_runs_side_by_side(fmnist: Fmnist) -> None:
    args = ("momentum", *SMALL, "--alpha", "0", "--alpha", "0.5", "--epochs", "60", "--jobs", "2")
    lines, _, code = on_terminal(*args, columns=100)
    assert code == 0, "\n".join(lines)
    assert_nothing_is_broken(lines, 2)


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_ctrl_c(fmnist: Fmnist, jobs: str) -> None:
    args = ("momentum", *SMALL, "--alpha", "0.5", "--alpha", "0", "--epochs", "3000")
    at = "1/3000" if jobs == "1" else "0/2"
    lines, _, code = on_terminal(*args, "--jobs", jobs, columns=100, interrupt_at=at)
    assert code == 130
    assert [line for line in lines if BAR.search(line)] == []
    text = "\n".join(lines)
    assert re.search(r"^Error: Interrupted", text, re.M), text


def test_ctrl_c_without_a_bar(fmnist: Fmnist) -> None:
    """The ^C that the terminal echoes does not stand before the message."""
    args = ("train", *SMALL, "--hidden", "1000", "--batch", "1", "--log", "--quiet")
    lines, _, code = on_terminal(*args, columns=200, interrupt_at="epoch   1;")
    assert code == 130
    assert re.search(r"^Error: Interrupted", "\n".join(lines), re.M), lines


def test_a_bar_is_drawn_whole_before_ctrl_c_ends_anything() -> None:
    drawn = []
    with pytest.raises(KeyboardInterrupt), signals_deferred():  # noqa: PT012
        signal.raise_signal(signal.SIGINT)
        drawn.append("the way back")
    assert drawn == ["the way back"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_dumb_terminal_gets_no_escape_sequences(fmnist: Fmnist) -> None:
    args = ("momentum", *SMALL, "--alpha", "0", "--alpha", "0.5", "--epochs", "20")
    lines, sent, code = on_terminal(*args, columns=100, term="dumb")
    assert code == 0
    assert b"\x1b" not in sent
    assert_nothing_is_broken(lines, 2)


def test_names_do_nothing_to_a_terminal(recorded: Path, fmnist: Fmnist) -> None:
    import sqlite3

    evil = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202efoo"
    with sqlite3.connect(recorded) as connection:
        connection.execute("UPDATE run SET name = ?, note = ?, host = ?", (evil,) * 3)
    for args in (
        ("runs", "list"),
        ("runs", "list", "--columns", "run_id,name,note,host"),
        ("runs", "show", "7"),
        ("runs", "compare", "1", "2"),
        ("runs", "query", "select name, note, host from run"),
        ("runs", "query", "select name from run", "--csv"),
        ("runs", "export", "--format", "md"),
        ("runs", "list", "--json"),
        ("runs", "explain", "7"),
    ):
        lines, sent, code = on_terminal(*args, columns=200)
        assert code == 0, "\n".join(lines)
        seen = re.sub(rb"\x1b\[[0-9;]*m", b"", sent).decode()  # but colours
        assert not re.search("[\x1b\x07\x80-\x9f\u202e]", seen), args
