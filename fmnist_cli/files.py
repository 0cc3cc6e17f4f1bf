"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from fmnist_cli.errors import UsageError


def replace_file(path: Path, content: str | bytes) -> None:
    """Write the file, or raise OSError and leave what was there."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content if isinstance(content, bytes) else content.encode())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


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


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file that the user named."""
    try:
        replace_file(path, content)
    except OSError as error:
        raise UsageError(
            f"the file must be one that can be written. Received: {path} ({error.strerror})."
        ) from error
