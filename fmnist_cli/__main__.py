"""The console script; ``python -m fmnist_cli`` is ``fmnist``."""

import os
import signal
import sys
from contextlib import suppress
from typing import NoReturn


def main() -> None:
    """Run the command line."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupted)  # but while a command runs: see FmnistGroup
    from fmnist_cli.cli import app
    from fmnist_cli.host import NumPyNeedsMemory

    sys.meta_path.insert(0, NumPyNeedsMemory())
    if not any(os.access(folder, os.W_OK) for folder in ("/tmp", "/var/tmp")):
        os.environ.setdefault("TMPDIR", "/dev/shm")  # a container with a read-only root has it
    app()


def _interrupted(*_: object) -> NoReturn:
    """Ctrl-C while modules are imported, options read, or the process ends: at once, and no more
    than a line, for an exception would be caught or shown by whatever happens to run."""
    with suppress(OSError):
        over = b"\r" if os.isatty(2) else b""  # the ^C that a terminal has echoed
        os.write(2, over + b"Error: Interrupted.\n")
    os._exit(130)


if __name__ == "__main__":
    main()
