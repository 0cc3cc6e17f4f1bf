"""Files that a user names: whole or not at all, through links, into pipes and devices."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fmnist_cli.errors import FmnistError, UsageError
from fmnist_cli.files import replace_file, require_writable, write_file


def test_an_existing_file_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("before")
    for mode in (0o600, 0o664):
        path.chmod(mode)
        replace_file(path, "after")
        assert path.stat().st_mode & 0o777 == mode
    before = os.umask(0o027)
    try:
        write_file(tmp_path / "new", "x")
    finally:
        os.umask(before)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o640
    assert {entry.name for entry in tmp_path.iterdir()} == {"a", "new"}


def test_a_link_stays_and_the_file_that_it_names_is_replaced(tmp_path: Path) -> None:
    real, link = tmp_path / "folder" / "real", tmp_path / "link"
    real.parent.mkdir()
    link.symlink_to(real)
    for text in ("first, where the link dangles", "second"):
        write_file(link, text)
        assert link.is_symlink()
        assert real.read_text() == text
    link.unlink()
    link.symlink_to(tmp_path / "absent" / "real")
    with pytest.raises(UsageError, match=r"can be written\. Received: .*link \(No such file"):
        write_file(link, "x")
    with pytest.raises(UsageError, match="the file's folder must exist"):
        require_writable(link, "the file")


def test_a_pipe_is_written_into(tmp_path: Path) -> None:
    path, got = tmp_path / "pipe", []
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: got.append(path.read_text()))
    reader.start()
    write_file(path, "text " * 50_000)
    reader.join()
    assert got == ["text " * 50_000]
    assert path.is_fifo()


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
@pytest.mark.parametrize("into", ["pipe", "file"])
def test_stdout_by_a_name(tmp_path: Path, name: str, into: str) -> None:
    if name == "link":
        (tmp_path / "link").symlink_to("/proc/self/fd/1")
    code = f"""
import sys
from pathlib import Path
from fmnist_cli.files import require_writable, write_file
print("before", flush=True)
require_writable(Path({name!r}), "the file")
write_file(Path({name!r}), "written\\n")
print("after")
"""
    run = [sys.executable, "-c", code]
    if into == "pipe":
        out = subprocess.run(
            run, cwd=tmp_path, stdout=subprocess.PIPE, check=True, text=True
        ).stdout
    else:
        with (tmp_path / "out").open("w") as file:
            subprocess.run(run, cwd=tmp_path, stdout=file, check=True)
        out = (tmp_path / "out").read_text()
    assert out == "before\nwritten\nafter\n"
    assert name != "link" or (tmp_path / "link").is_symlink()


def test_what_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, why in (
        (tmp_path / "absent" / "a", "No such file or directory"),
        (tmp_path / "file" / "a", "Not a directory"),
        (tmp_path, "Is a directory"),
    ):
        with pytest.raises(UsageError) as error:
            write_file(path, "x", "the report")
        message = f"the report must be one that can be written. Received: {path} ({why})."
        assert str(error.value) == message
        with pytest.raises(UsageError):
            require_writable(path, "the report")
    with pytest.raises(FmnistError, match=r"/dev/full \(No space left on device\)") as full:
        write_file(Path("/dev/full"), "x")
    assert full.value.exit_code == 1  # no fault of the command line
    assert Path("/dev/full").is_char_device()


def test_a_file_in_a_closed_folder_is_written_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_text("a longer text than the new one")
    access = os.access
    monkeypatch.setattr(os, "access", lambda p, mode: str(p) != str(tmp_path) and access(p, mode))
    require_writable(path, "the file")
    write_file(path, "new")
    assert path.read_text() == "new"
    with pytest.raises(UsageError, match="the file's folder must be writable"):
        require_writable(tmp_path / "b", "the file")
