"""Debian's package ``dataset-fashion-mnist``, fetched without root and without a trace.

``apt-get`` runs on a private state folder (its own package lists, caches and an empty status
file), so that stale or missing lists of the system do not matter and nothing of it is touched.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from fmnist_cli.engine.data.folder import Progress, bytes_below
from fmnist_cli.errors import DataError

PACKAGE = "dataset-fashion-mnist"
INSTALLED_FOLDER = Path("/usr/share/datasets/fashion-mnist")
_MOST_SECONDS = 900.0
_POLL_SECONDS = 0.1

# Read after the system's own configuration. The hooks would clean the system's cache and
# refresh its services; the sandbox's user cannot enter a private folder.
_CONFIGURATION = """\
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
Dir::State "{root}/state";
Dir::State::lists "{root}/state/lists";
Dir::State::status "{root}/state/status";
Dir::Cache "{root}/cache";
Dir::Cache::archives "{root}/cache/archives";
Dir::Log "{root}/log";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "1";
Acquire::http::Timeout "10";
Acquire::https::Timeout "10";
"""


def is_available() -> bool:
    """Whether this machine has what ``fetch_package`` runs."""
    return all(shutil.which(program) for program in ("apt-get", "dpkg-deb"))


def fetch_package(work: Path, on_progress: Progress) -> Path:
    """Fetch the package into ``work``, a private folder, and unpack it there.

    Returns
    -------
    Path
        The unpacked folder that has the four gzipped files, not yet verified.

    Raises
    ------
    DataError
        When apt is not there or does not find or get the package.
    """
    if not is_available():
        raise DataError("apt-get and dpkg-deb are not on this machine")
    root = work.resolve() / "apt"
    for name in ("state/lists/partial", "cache/archives/partial", "log"):
        (root / name).mkdir(parents=True)
    (root / "state/status").touch()
    configuration = root / "apt.conf"
    configuration.write_text(_CONFIGURATION.format(root=root))
    apt_get = ["apt-get", "-c", str(configuration)]

    # One broken source of the machine's makes `update` fail as a whole; whether the package is
    # found in the others, `download` tells.
    updated = _run([*apt_get, "update"], root, "package lists", on_progress)
    fetched = _run([*apt_get, "download", PACKAGE], root, PACKAGE, on_progress)
    packages = sorted(root.glob(f"{PACKAGE}_*.deb"))
    if not packages:
        raise DataError(f"apt-get download {PACKAGE} failed: {fetched or updated or 'no package'}")
    unpacked = root / "unpacked"
    unpack = ["dpkg-deb", "-x", str(packages[0]), str(unpacked)]
    complaint = _run(unpack, root, PACKAGE, on_progress)
    folder = unpacked / INSTALLED_FOLDER.relative_to("/")
    if not folder.is_dir():
        raise DataError(f"dpkg-deb -x {packages[0].name} failed: {complaint or 'no data in it'}")
    return folder


def _run(command: Sequence[str], root: Path, what: str, on_progress: Progress) -> str:
    """Run to the end, reporting the bytes that arrive below ``root``; "" or the first complaint."""
    label = f"{what} by {Path(command[0]).name}"
    log = root / "output"
    start_bytes = bytes_below(root)
    deadline = time.monotonic() + _MOST_SECONDS
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=root,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_POLL_SECONDS)
                    break
                if time.monotonic() > deadline:
                    return f"not done within {_MOST_SECONDS:g} s"
                on_progress(label, max(0, bytes_below(root) - start_bytes), None)
        finally:
            if process.poll() is None:
                # Its download methods too; the state that it leaves behind is thrown away.
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if process.returncode == 0:
        return ""
    lines = log.read_text(errors="replace").splitlines()
    complaints = [line for line in lines if line.startswith(("E:", "W:", "dpkg-deb: error:"))]
    return next(iter(complaints or lines[-1:]), f"exit status {process.returncode}")
