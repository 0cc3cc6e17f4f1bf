"""The chain of sources, the mirrors (a local server) and apt (fake programs; one real run)."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fmnist_cli.engine import data
from fmnist_cli.engine.data import apt, mirrors, official, sources
from fmnist_cli.errors import DataError

NAMES = [file.name for file in official.FILES]
Reply = Callable[[http.server.BaseHTTPRequestHandler], None]


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No mirror, no apt, no installed package, unless a test says so."""
    monkeypatch.setattr(official, "MIRRORS", ())
    monkeypatch.setattr(apt, "INSTALLED_FOLDER", tmp_path / "usr/share/datasets/fashion-mnist")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


@pytest.fixture
def official_data(tiny_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small data set, declared to be the official one."""
    files = tuple(
        replace(file, sha256=hashlib.sha256(gzip.decompress(content)).hexdigest())
        for file in official.FILES
        for content in [(tiny_data / f"{file.name}.gz").read_bytes()]
    )
    monkeypatch.setattr(official, "FILES", files)
    return tiny_data


class Mirror:
    """A local server of a folder; ``replies`` overrides single files, ``asked`` lists requests."""

    def __init__(self, folder: Path) -> None:
        self.replies: dict[str, Reply] = {}
        self.asked: list[str] = []
        mirror = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.rpartition("/")[2]
                mirror.asked.append(name)
                if name in mirror.replies:
                    mirror.replies[name](self)
                else:
                    send((folder / name).read_bytes())(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_address[1]}"
        self.url = f"http://{self.host}/some/folder/"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def send(
    content: bytes,
    *,
    status: int = 200,
    kind: str = "application/gzip",
    announced: int | None = None,
) -> Reply:
    def reply(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(content) if announced is None else announced))
        handler.end_headers()
        handler.wfile.write(content)

    return reply


def redirect(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.send_response(302)
    handler.send_header("Location", "/login.html")
    handler.end_headers()


def hang_up(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)


def stay_silent(handler: http.server.BaseHTTPRequestHandler) -> None:
    time.sleep(2)


def stall(handler: http.server.BaseHTTPRequestHandler) -> None:
    send(b"\x1f\x8b", announced=5000)(handler)
    handler.wfile.flush()
    time.sleep(2)


@pytest.fixture
def start_mirror() -> Iterator[Callable[[Path], Mirror]]:
    started: list[Mirror] = []

    def start(folder: Path) -> Mirror:
        started.append(Mirror(folder))
        return started[-1]

    yield start
    for mirror in started:
        mirror.close()


def store() -> Path:
    return data.cache_folder() / "fashion-mnist"


def stored() -> set[str]:
    return {path.name for path in store().iterdir()} if store().exists() else set()


def assert_nothing_half() -> None:
    """Every stored file is whole, and no temporary one is left."""
    assert stored() <= {f"{name}.gz" for name in NAMES}
    for path in store().iterdir():
        gzip.decompress(path.read_bytes())
    assert list(data.cache_folder().glob(".partial-*")) == []


class TestChain:
    def places(self, tmp_path: Path) -> list[Path]:
        return [
            store(),
            Path.home() / ".keras/datasets/fashion-mnist",
            Path("data/FashionMNIST/raw").absolute(),
            Path.home() / "data/FashionMNIST/raw",
            tmp_path / "usr/share/datasets/fashion-mnist",
        ]

    def test_first_complete_folder_wins(self, official_data: Path, tmp_path: Path) -> None:
        for place in reversed(self.places(tmp_path)):
            shutil.copytree(official_data, place)
            dataset = data.load(100, 50)
            assert dataset.folder.absolute() == place
            assert dataset.is_official

    def test_keras_home_moves_keras_cache(
        self, official_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
        place = shutil.copytree(official_data, tmp_path / "keras/datasets/fashion-mnist")
        assert data.load(100, 50).folder == place

    def test_a_given_folder_comes_first(self, official_data: Path, tmp_path: Path) -> None:
        shutil.copytree(official_data, store())
        given = shutil.copytree(official_data, tmp_path / "given")
        assert data.load(100, 50, data_dir=given).folder == given

    def test_a_given_folder_is_never_passed_over(self, official_data: Path, tmp_path: Path) -> None:
        shutil.copytree(official_data, store())
        given = shutil.copytree(official_data, tmp_path / "given")
        (given / f"{NAMES[1]}.gz").unlink()
        with pytest.raises(DataError, match=rf"Missing: {NAMES[1]}\.gz"):
            data.load(100, 50, data_dir=given)

    def test_other_programs_folders_are_passed_over_when_spoilt(
        self, official_data: Path, tmp_path: Path
    ) -> None:
        _, incomplete, damaged, custom, good = self.places(tmp_path)
        for place in (incomplete, damaged, custom, good):
            shutil.copytree(official_data, place)
        (incomplete / f"{NAMES[0]}.gz").unlink()
        (damaged / f"{NAMES[2]}.gz").write_bytes(b"")
        data.write_idx(custom / f"{NAMES[3]}.gz", np.zeros(100, np.uint8))

        assert data.load(100, 50).folder == good

        states = [(report.state, report.wins) for report in data.info().sources]
        assert states == [
            ("absent", False),
            ("incomplete", False),
            ("unusable", False),
            ("custom", False),
            ("official", True),
        ]

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may look into every folder")
    def test_a_folder_that_may_not_be_looked_into_is_passed_over(self, tmp_path: Path) -> None:
        keras = Path.home() / ".keras/datasets/fashion-mnist"
        keras.mkdir(parents=True)
        keras.chmod(0)
        assert data.find() is None
        assert data.info().sources[1].state == "unusable"
        with pytest.raises(DataError, match="must be readable"):
            data.find(keras)

    def test_unpacked_files_are_taken_too(self, official_data: Path) -> None:
        place = Path("data/FashionMNIST/raw")
        place.mkdir(parents=True)
        for name in NAMES:
            (place / name).write_bytes(gzip.decompress((official_data / f"{name}.gz").read_bytes()))
        assert data.load(100, 50).is_official

    def test_when_all_fails_the_error_says_why_each_did(
        self, official_data: Path, start_mirror: Callable[[Path], Mirror]
    ) -> None:
        keras = shutil.copytree(official_data, Path.home() / ".keras/datasets/fashion-mnist")
        (keras / f"{NAMES[0]}.gz").unlink()
        mirror = start_mirror(official_data)
        mirror.replies[f"{NAMES[0]}.gz"] = send(b"", status=403)

        with pytest.raises(DataError) as error:
            data.fetch(mirror_urls=[mirror.url])

        message = str(error.value)
        assert (
            f"{keras} must hold the four files of the data set. Missing: {NAMES[0]}.gz" in message
        )
        assert f"{mirror.host}: HTTP 403" in message
        assert "apt-get and dpkg-deb are not on this machine" in message
        assert error.value.remedy == "name_data_folder"
        assert "\n" not in message

    def test_load_downloads_when_nothing_is_held(
        self,
        official_data: Path,
        start_mirror: Callable[[Path], Mirror],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        mirror = start_mirror(official_data)
        monkeypatch.setattr(official, "MIRRORS", (mirror.url,))
        for _ in range(2):
            assert data.load(100, 50).folder == store()
        assert mirror.asked == [f"{name}.gz" for name in NAMES]


class TestInfo:
    def test_nothing_held(self) -> None:
        info = data.info()
        assert {report.state for report in info.sources} == {"absent"}
        assert (info.fingerprint, info.is_official, info.cache_bytes) == (None, False, 0)
        assert "Zalando" in info.licence
        assert not info.has_apt

    def test_a_given_folder_is_the_only_one_that_can_win(
        self, official_data: Path, tmp_path: Path
    ) -> None:
        shutil.copytree(official_data, store())
        given = shutil.copytree(official_data, tmp_path / "given")
        (given / f"{NAMES[1]}.gz").unlink()

        info = data.info(given)

        assert [report.folder for report in info.sources][:2] == [given, store()]
        assert info.sources[0].detail == f"missing: {NAMES[1]}.gz"
        assert not any(report.wins for report in info.sources)
        assert info.fingerprint is None

    def test_custom_data_win_where_they_are_allowed(self, tiny_data: Path) -> None:
        assert data.info(tiny_data).fingerprint is None
        info = data.info(tiny_data, allow_custom=True)
        assert info.sources[0].wins
        assert (
            info.fingerprint == data.load(9, 1, data_dir=tiny_data, allow_custom=True).fingerprint
        )
        assert not info.is_official
        assert info.cache_bytes > 400 * 784


class TestMirrors:
    def test_files_arrive_whole_with_progress(
        self, official_data: Path, start_mirror: Callable[[Path], Mirror]
    ) -> None:
        mirror = start_mirror(official_data)
        seen: list[tuple[str, int, int | None]] = []

        folder = data.fetch(
            mirror_urls=[mirror.url], on_progress=lambda *progress: seen.append(progress)
        )

        assert folder.path == store()
        for name in NAMES:
            content = (official_data / f"{name}.gz").read_bytes()
            assert (store() / f"{name}.gz").read_bytes() == content
            label = f"{name}.gz from {mirror.host}"
            assert (label, 0, len(content)) in seen
            assert (label, len(content), len(content)) in seen
        assert_nothing_half()

    @pytest.mark.parametrize(
        ("reply", "reason"),
        [
            (send(b"", status=404), "HTTP 404"),
            (send(b""), "a header of 16 bytes. Found: 0 bytes"),
            (send(b"<html>", kind="text/html; charset=utf-8"), "came as a web page"),
            (send(b"<html>"), "Not a gzipped file"),
            (redirect, "came as a web page"),
            (hang_up, "without response"),
            (stay_silent, "no answer within 1 s"),
            (stall, "timed out"),
            (send(b"\x1f\x8b", announced=5000), "ended after 2 of 5000 bytes"),
            (send(gzip.compress(b"other")), "a header of 16 bytes. Found: 5 bytes"),
        ],
    )
    def test_a_mirror_that_fails_is_followed_by_the_next(
        self,
        official_data: Path,
        start_mirror: Callable[[Path], Mirror],
        monkeypatch: pytest.MonkeyPatch,
        reply: Reply,
        reason: str,
    ) -> None:
        monkeypatch.setattr(mirrors, "ANSWER_SECONDS", 1 if reply in (stay_silent, stall) else 30)
        monkeypatch.setattr(mirrors, "STALL_SECONDS", 1 if reply is stall else 30)
        bad, good = start_mirror(official_data), start_mirror(official_data)
        bad.replies[f"{NAMES[2]}.gz"] = reply
        bad.replies["login.html"] = send(b"<html>", kind="text/html")

        with pytest.raises(DataError) as error:
            data.fetch(mirror_urls=[bad.url])
        assert reason in str(error.value)
        assert stored() == {f"{NAMES[0]}.gz", f"{NAMES[1]}.gz"}
        assert_nothing_half()

        data.fetch(mirror_urls=[bad.url, good.url])
        assert good.asked == [f"{NAMES[2]}.gz", f"{NAMES[3]}.gz"]
        assert_nothing_half()

    def test_a_slow_mirror_gets_the_time_that_it_is_given(
        self,
        official_data: Path,
        start_mirror: Callable[[Path], Mirror],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def late(handler: http.server.BaseHTTPRequestHandler) -> None:
            time.sleep(0.4)
            content = (official_data / f"{NAMES[0]}.gz").read_bytes()
            send(content)(handler)

        monkeypatch.setattr(mirrors, "ANSWER_SECONDS", 0.1)
        slow = start_mirror(official_data)
        slow.replies[f"{NAMES[0]}.gz"] = late
        with pytest.raises(DataError, match=r"no answer within 0\.1 s"):
            data.fetch(mirror_urls=[slow.url])
        with pytest.raises(DataError, match=r"no answer within 0\.2 s"):
            data.fetch(mirror_urls=[slow.url], answer_seconds=0.2)
        assert data.fetch(mirror_urls=[slow.url], answer_seconds=20).files

    def test_half_a_file_and_wrong_bytes_are_refused(
        self, official_data: Path, start_mirror: Callable[[Path], Mirror]
    ) -> None:
        name = f"{NAMES[0]}.gz"
        content = (official_data / name).read_bytes()
        other = bytearray(gzip.decompress(content))
        other[-1] ^= 1
        half, wrong = start_mirror(official_data), start_mirror(official_data)
        half.replies[name] = send(content[: len(content) // 2])
        wrong.replies[name] = send(gzip.compress(other))

        with pytest.raises(DataError) as error:
            data.fetch(mirror_urls=[half.url, wrong.url])

        assert f"{half.host}: {name} must be a whole gzip file. Found: one that is cut off" in str(
            error.value
        )
        assert f"{wrong.host}: {name} is not the official file" in str(error.value)
        assert stored() == set()

    def test_an_endless_body_is_cut(
        self,
        official_data: Path,
        start_mirror: Callable[[Path], Mirror],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(mirrors, "_MOST_BYTES", 1000)
        with pytest.raises(DataError, match="more than 1000 bytes"):
            data.fetch(mirror_urls=[start_mirror(official_data).url])

    def test_a_refused_connection_is_no_wait(self, official_data: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(DataError, match="Connection refused"):
            data.fetch(mirror_urls=[url])

    def test_force_downloads_what_is_held(
        self, official_data: Path, start_mirror: Callable[[Path], Mirror]
    ) -> None:
        shutil.copytree(official_data, store())
        mirror = start_mirror(official_data)
        data.fetch(mirror_urls=[mirror.url])
        assert mirror.asked == []
        data.fetch(mirror_urls=[mirror.url], force=True)
        assert len(mirror.asked) == 4

    def test_only_damaged_files_are_downloaded_again(
        self, official_data: Path, start_mirror: Callable[[Path], Mirror]
    ) -> None:
        shutil.copytree(official_data, store())
        data.load(100, 50)
        path = store() / f"{NAMES[3]}.gz"
        path.write_bytes(path.read_bytes()[:-3])
        mirror = start_mirror(official_data)

        data.fetch(mirror_urls=[mirror.url])

        assert mirror.asked == [f"{NAMES[3]}.gz"]
        assert_nothing_half()

    @pytest.mark.parametrize("after_calls", [1, 2, 4])
    def test_an_interruption_leaves_no_half_file(
        self, official_data: Path, start_mirror: Callable[[Path], Mirror], after_calls: int
    ) -> None:
        calls = 0

        def interrupt(label: str, done_bytes: int, total_bytes: int | None) -> None:
            nonlocal calls
            calls += 1
            if calls == after_calls:
                raise KeyboardInterrupt

        mirror = start_mirror(official_data)
        with pytest.raises(KeyboardInterrupt):
            data.fetch(mirror_urls=[mirror.url], on_progress=interrupt)
        assert_nothing_half()
        data.fetch(mirror_urls=[mirror.url])
        assert_nothing_half()

    def test_what_a_killed_process_left_is_swept(
        self, official_data: Path, start_mirror: Callable[[Path], Mirror]
    ) -> None:
        left = data.cache_folder() / ".partial-dead"
        left.mkdir(parents=True)
        (left / f"{NAMES[0]}.gz").write_bytes(b"half")
        data.fetch(mirror_urls=[start_mirror(official_data).url])
        assert_nothing_half()

    def test_an_unwritable_cache_is_an_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").touch()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        with pytest.raises(DataError, match=r"must be writable.*set XDG_CACHE_HOME"):
            data.fetch()

    def test_two_processes_at_once_download_once(
        self, official_data: Path, start_mirror: Callable[[Path], Mirror]
    ) -> None:
        mirror = start_mirror(official_data)
        both_wait = threading.Event()

        def slow(handler: http.server.BaseHTTPRequestHandler) -> None:
            content = (official_data / f"{NAMES[0]}.gz").read_bytes()
            send(content[:1000], announced=len(content))(handler)
            both_wait.wait(20)
            handler.wfile.write(content[1000:])

        mirror.replies[f"{NAMES[0]}.gz"] = slow
        digests = [file.sha256 for file in official.FILES]
        program = f"""
import sys
from dataclasses import replace
from pathlib import Path
from fmnist_cli.engine import data
from fmnist_cli.engine.data import apt, official
official.FILES = tuple(replace(f, sha256=d) for f, d in zip(official.FILES, {digests!r}))
official.MIRRORS = ({mirror.url!r},)
apt.INSTALLED_FOLDER = Path("/nonexistent")
dataset = data.load(100, 50, on_progress=lambda label, *_: print(label, flush=True))
print(dataset.fingerprint)
"""
        processes = [
            subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        labels = [process.stdout.readline().strip() for process in processes if process.stdout]
        both_wait.set()
        outputs = [process.communicate(timeout=30)[0] for process in processes]

        assert [process.returncode for process in processes] == [0, 0]
        # One downloads, and gets the second half only once the other was seen to wait.
        assert "waiting for another fmnist's download" in labels
        fingerprint = data.fingerprint(digests)
        assert all(output.splitlines()[-1] == fingerprint for output in outputs)
        assert sorted(mirror.asked) == sorted(f"{name}.gz" for name in NAMES)
        assert_nothing_half()


FAKE_APT_GET = """#!{python}
import os, sys, pathlib
log = pathlib.Path({log!r})
with log.open("a") as out:
    print(sys.argv[3:], file=out)
configuration = pathlib.Path(sys.argv[2]).read_text()
assert sys.argv[1] == "-c" and "#clear APT::Update::Post-Invoke;" in configuration
lists = configuration.partition('Dir::State::lists "')[2].partition('"')[0]
assert (pathlib.Path(lists) / "partial").is_dir()
if sys.argv[3] == "update":
    print("E: The repository of somebody else has no Release file.")
    sys.exit({update_status})
if {download_status}:
    print("E: Unable to locate package", sys.argv[4])
    sys.exit({download_status})
pathlib.Path(sys.argv[4] + "_0.1_all.deb").write_bytes(b"a package")
"""

FAKE_DPKG_DEB = """#!{python}
import pathlib, shutil, sys
assert sys.argv[1] == "-x" and pathlib.Path(sys.argv[2]).read_bytes() == b"a package"
shutil.copytree({data!r}, sys.argv[3] + {inside!r})
"""


class TestApt:
    @pytest.fixture
    def fake_apt(self, official_data: Path, tmp_path: Path) -> Callable[..., Path]:
        def make(
            update_status: int = 0, download_status: int = 0, folder: Path = official_data
        ) -> Path:
            log = tmp_path / "apt.log"
            values = {
                "python": sys.executable,
                "log": str(log),
                "update_status": update_status,
                "download_status": download_status,
                "data": str(folder),
                "inside": str(apt.INSTALLED_FOLDER),
            }
            (tmp_path / "bin").mkdir()
            for name, program in (("apt-get", FAKE_APT_GET), ("dpkg-deb", FAKE_DPKG_DEB)):
                path = tmp_path / "bin" / name
                path.write_text(program.format(**values))
                path.chmod(0o755)
            return log

        return make

    def test_looking_for_data_imports_no_http(self, official_data: Path) -> None:
        program = (
            "import sys; from pathlib import Path; from fmnist_cli.engine import data; "
            f"data.load(9, 1, data_dir=Path({str(official_data)!r}), allow_custom=True); "
            "print({'http.client', 'ssl'} & set(sys.modules))"
        )
        output = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        ).stdout
        assert output == "set()\n"

    @pytest.mark.parametrize("update_status", [0, 100])
    def test_the_package_is_the_last_resort(
        self, fake_apt: Callable[..., Path], update_status: int
    ) -> None:
        log = fake_apt(update_status)
        dataset = data.load(100, 50)
        assert (dataset.folder, dataset.is_official) == (store(), True)
        assert log.read_text().splitlines() == [
            "['update']",
            "['download', 'dataset-fashion-mnist']",
        ]
        assert_nothing_half()
        data.load(100, 50)
        assert len(log.read_text().splitlines()) == 2

    def test_a_mirror_comes_before_it(
        self,
        official_data: Path,
        fake_apt: Callable[..., Path],
        start_mirror: Callable[[Path], Mirror],
    ) -> None:
        log = fake_apt()
        data.fetch(mirror_urls=[start_mirror(official_data).url])
        assert not log.exists()

    def test_its_complaint_is_told(self, fake_apt: Callable[..., Path]) -> None:
        fake_apt(download_status=100)
        with pytest.raises(DataError, match="failed: E: Unable to locate package dataset-fashion"):
            data.fetch()
        assert_nothing_half()

    def test_its_files_are_verified(
        self, fake_apt: Callable[..., Path], official_data: Path, tmp_path: Path
    ) -> None:
        other = shutil.copytree(official_data, tmp_path / "other")
        shutil.copy(other / f"{NAMES[3]}.gz", other / f"{NAMES[1]}.gz")
        fake_apt(folder=other)
        with pytest.raises(DataError, match=f"{NAMES[1]}.gz must be of SHA-256"):
            data.fetch()
        assert_nothing_half()

    def test_an_interruption_ends_the_program(self, official_data: Path, tmp_path: Path) -> None:
        pid = tmp_path / "pid"
        (tmp_path / "bin").mkdir()
        for name in ("apt-get", "dpkg-deb"):
            path = tmp_path / "bin" / name
            path.write_text(
                f"#!/bin/sh\necho $$ > {pid}.new; /bin/mv {pid}.new {pid}\nexec /bin/sleep 60\n"
            )
            path.chmod(0o755)

        def interrupt(label: str, done_bytes: int, total_bytes: int | None) -> None:
            if pid.exists():
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            data.fetch(on_progress=interrupt)
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid.read_text()), 0)
        assert_nothing_half()


@pytest.mark.slow
@pytest.mark.skipif(not apt.is_available(), reason="needs apt-get and dpkg-deb")
def test_the_real_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fetched by the real apt, whose hooks must not run."""
    monkeypatch.setenv("PATH", os.defpath)
    monkeypatch.setattr(apt, "INSTALLED_FOLDER", Path("/usr/share/datasets/fashion-mnist"))
    monkeypatch.setattr(sources, "candidates", lambda: [("fmnist's cache", store())])
    hook = tmp_path / "hook"
    configuration = tmp_path / "apt.conf"
    configuration.write_text(
        "".join(
            f'APT::Update::{when} {{ "touch {hook}"; }};\n'
            for when in ("Pre-Invoke", "Post-Invoke", "Post-Invoke-Success")
        )
    )
    monkeypatch.setenv("APT_CONFIG", str(configuration))

    dataset = data.load(10_000, 2_000)

    assert dataset.fingerprint == data.OFFICIAL_FINGERPRINT
    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (10_000, 2_000, 10_000)
    assert not hook.exists()
    assert all(report.ok for report in data.verify())
    assert_nothing_half()
