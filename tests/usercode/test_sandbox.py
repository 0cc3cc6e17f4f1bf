"""Whatever a file does, it ends as that file's result, with a clear sentence."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

from fmnist_cli.engine.backend import Split
from fmnist_cli.errors import UsageError
from fmnist_cli.usercode.guard import Limits
from fmnist_cli.usercode.results import CheckReport

from .base import SOLUTION
from .conftest import CheckText

QUICK = Limits(call_seconds=2, file_seconds=15)
BACKWARD = "        backward_output = np.matmul(grad, self.params['W'].T)\n"
BROKEN = {
    "a syntax error": ("def f(:\n", "loads", "not valid Python"),
    "an empty file": ("", "loads", "defines none of"),
    "no utf-8": ("x = '\udcff'\n", "loads", "not valid Python"),
    "an import error": ("import nowhere_to_be_found\n", "loads", "No module named"),
    "an endless loop": ("while True:\n    pass\n", "loads", "within 2 s: an endless loop"),
    "os._exit": ("import os\nos._exit(0)\n", "loads", "os._exit must not be called"),
    "sys.exit": ("import sys\nsys.exit(0)\n", "loads", "called sys.exit in line 2"),
    "KeyboardInterrupt": ("raise KeyboardInterrupt\n", "loads", "KeyboardInterrupt"),
    "a fork bomb": ("import os\nwhile True:\n    os.fork()\n", "loads", "start a process"),
    "a subprocess": ("import os\nos.system('true')\n", "loads", "start a process"),
    "10 GB": ("import numpy as np\nx = np.ones(10 * 2**30 // 8)\n", "loads", "more memory"),
    "1 GB printed": ("while True:\n    print('x' * 1000)\n", "loads", "printed more than"),
    "a deep recursion": ("def f():\n    f()\nf()\n", "loads", "calls itself without end"),
    "the password file": ("print(open('/etc/passwd').read())\n", "conduct", "read /etc/passwd"),
    "a listening socket": ("import _socket\n", "conduct", "import _socket"),
    "native code": ("import ctypes\n", "conduct", "import ctypes"),
    "the grader's layers by another way": (
        "import importlib\nimportlib.import_module('fmnist_cli.engine.numpy_mlp.layers')\n",
        "conduct", "read fmnist's own files"),
    "what fmnist reads": (
        "import os\nfor i in range(3, 30):\n    try:\n        os.write(i, b'x' * 16)\n"
        "    except OSError:\n        pass\n", "loads", "only print may write"),
    "the grader's layers": ("from fmnist_cli.engine.numpy_mlp.layers import Linear\n", "conduct",
                            "import fmnist_cli"),
}  # fmt: skip


def test_the_list_is_of_texts_that_can_be_written() -> None:
    assert len(BROKEN) > 10


def check_bytes(text: str, tmp_path: Path, images: object) -> CheckReport:
    from fmnist_cli.usercode.examine import check_file

    path = tmp_path / "broken.py"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return check_file(path, images, limits=QUICK)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_ends_with_a_sentence(name: str, tmp_path: Path, images: object) -> None:
    text, check, sentence = BROKEN[name]
    report = check_bytes(text, tmp_path, images)
    assert not report.holds
    result = report.result(check)
    assert result.status == "failed"
    assert sentence in result.message
    assert result.message.endswith(".")
    assert "\n" not in result.message


def in_backward(line: str) -> str:
    return SOLUTION.replace(BACKWARD, f"        {line}\n{BACKWARD}")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("while True: pass", "linear_layer.backward did not finish within 2 s"),
        ("import os; os._exit(7)", "linear_layer.backward ended the Python process (exit code 7)"),
    ],
)
def test_what_ends_the_process_in_backward_leaves_the_other_checks_alone(
    line: str, sentence: str, check_text: CheckText
) -> None:
    report = check_text(in_backward(line), limits=QUICK)
    failed = [r for r in report.results if r.status == "failed" and sentence in r.message]
    assert len(failed) == 1
    assert report.result("linear_init").status == "passed"
    assert report.result("relu_backward").status == "passed"
    assert report.result("update").status == "passed"


def test_sys_exit_in_backward_is_told_with_its_line(check_text: CheckText) -> None:
    report = check_text(in_backward("import sys; sys.exit()"))
    diagnosis = report.result("linear_dX").diagnosis
    assert diagnosis is not None
    assert diagnosis.what == "It called sys.exit in line 24, which ends the program."
    assert diagnosis.line == 24


def test_a_file_cannot_delete_or_write_outside_its_folder(
    tmp_path: Path, check_text: CheckText
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    report = check_text(f"import os\nos.remove({str(victim)!r})\n")
    assert victim.read_text() == "mine"
    assert report.result("conduct").message == f"The file tried to change {victim}."
    report = check_text(f"open({str(victim)!r}, 'w')\n")
    assert victim.read_text() == "mine"
    assert report.result("conduct").message == f"The file tried to write {victim}."


def test_its_own_folder_is_its_own_to_empty(check_text: CheckText) -> None:
    text = (
        "import glob, os, shutil\nopen('mine', 'w').write('x')\nos.mkdir('deep')\n"
        "for name in glob.glob('*'):\n"
        "    shutil.rmtree(name) if os.path.isdir(name) else os.remove(name)\n"
    )
    report = check_text(text + SOLUTION)
    assert report.holds
    assert report.result("conduct").status == "passed"


def test_what_is_tried_and_swallowed_is_told(check_text: CheckText) -> None:
    text = "try:\n    open('/etc/hostname')\nexcept Exception:\n    pass\n"
    report = check_text(text + SOLUTION)
    assert report.result("conduct").message == "The file tried to read /etc/hostname."
    assert report.result("linear_dW").status == "passed"


def test_the_network_is_refused(check_text: CheckText) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        port = server.getsockname()[1]
        text = (
            "import urllib.request\ntry:\n"
            f"    urllib.request.urlopen('http://127.0.0.1:{port}', timeout=1)\n"
            "except Exception:\n    pass\n"
        )
        report = check_text(text + SOLUTION)
        with pytest.raises(TimeoutError):
            server.accept()
    assert report.result("conduct").message == "The file tried to use the network."


def test_the_environment_is_empty_and_no_registry_is_in_reach(
    check_text: CheckText, monkeypatch: pytest.MonkeyPatch, isolated: Path
) -> None:
    monkeypatch.setenv("FMNIST_SECRET", "token")
    (isolated / "runs.db").write_text("")
    text = (
        "import os\nassert 'FMNIST_SECRET' not in os.environ\n"
        "assert not [n for n in os.listdir('.') if n != 'progress']\n"
    )
    assert check_text(text + SOLUTION).result("loads").status == "passed"


@pytest.mark.parametrize(
    "patch",
    [
        "np.allclose = np.array_equal = lambda *a, **k: True",
        "np.abs = lambda x: 0 * x",
        "np.matmul = lambda a, b: 0",
    ],
)
def test_a_patched_numpy_is_told_and_does_not_help(patch: str, check_text: CheckText) -> None:
    wrong = SOLUTION.replace("np.matmul(X.T, grad)", "2 * X.T @ grad")
    report = check_text(wrong + f"\n{patch}\n")
    assert report.result("conduct").message.startswith("The file replaces numpy.")
    assert report.result("linear_dW").status == "failed"


def test_the_expected_values_are_not_in_the_process(check_text: CheckText) -> None:
    """The file looks for an oracle in every module and every frame, and finds none."""
    text = (
        "import sys\n"
        "names = [n for n in sys.modules if n.startswith('fmnist_cli')]\n"
        "assert not [n for n in names if 'mistake' in n or 'engine' in n\n"
        "            or n.endswith(('checks', 'cases', 'diagnosis', 'exam'))], names\n"
    )
    report = check_text(text + SOLUTION)
    assert report.result("loads").status == "passed", report.result("loads").message


def test_a_forbidden_import_is_not_run(tmp_path: Path, images: object) -> None:
    from fmnist_cli.usercode.examine import check_file

    marker = tmp_path / "ran"
    path = tmp_path / "a.py"
    path.write_text(f"open({str(marker)!r}, 'w')\ndef f():\n    import torch.nn\n{SOLUTION}")
    report = check_file(path, images, forbidden=("torch",))  # type: ignore[arg-type]
    assert report.result("conduct").message == "The file imports torch, which is not allowed here."
    assert not marker.exists()
    assert report.count("passed") == 0


def test_no_process_and_no_folder_is_left(
    check_text: CheckText, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    started = []
    popen = subprocess.Popen

    def start(*args: object, **keywords: object) -> subprocess.Popen[bytes]:
        started.append(popen(*args, **keywords))  # type: ignore[call-overload]
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", start)
    check_text("while True: pass\n", limits=QUICK)
    check_text(SOLUTION)
    assert list(folder.iterdir()) == []
    assert len(started) == 2
    assert all(process.returncode is not None for process in started)


@pytest.mark.parametrize("line", ["np.ones(10 * 2**30)", "print('x' * 2_000_000)"])
def test_what_is_too_much_is_not_tried_again(line: str, check_text: CheckText) -> None:
    """The operation ends: a dozen more calls would each take as long."""
    report = check_text(in_backward(line), only=("linear_forward", "linear_dX"))
    failed = [r for r in report.results if r.status == "failed"]
    assert [r.check for r in failed] == ["linear_forward"]
    assert failed[0].message.startswith("linear_layer.backward: it ")


def test_what_is_no_text_of_a_program_is_told(tmp_path: Path, images: object) -> None:
    from fmnist_cli.usercode.examine import check_file

    (tmp_path / "folder.py").mkdir()
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "utf16.py").write_bytes(SOLUTION.encode("utf-16"))
    (tmp_path / "work.ipynb").write_text('{"cells": [], "nbformat": 4}')
    (tmp_path / "huge.py").write_bytes(b"#" * (2 << 20))
    for name, sentence in (
        ("folder.py", "a folder"),
        ("pipe.py", "which is no file"),
        ("utf16.py", "must be text in UTF-8"),
        ("work.ipynb", "a notebook. Try: jupyter nbconvert"),
        ("huge.py", "at most 1,048,576 bytes"),
        ("none.py", "No such file"),
    ):
        with pytest.raises(UsageError, match=sentence):
            check_file(tmp_path / name, images)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "body",
    [b"\xef\xbb\xbf" + SOLUTION.encode(), SOLUTION.replace("\n", "\r\n").encode(),
     b"# -*- coding: latin-1 -*-\n# f\xfcr\n" + SOLUTION.encode()],
    ids=["byte order mark", "Windows", "Latin-1"],
)  # fmt: skip
def test_a_text_in_another_form_is_read(body: bytes, tmp_path: Path, images: Split) -> None:
    from fmnist_cli.usercode.examine import check_file

    path = tmp_path / "[bold] my file & <b>.py"
    path.write_bytes(body)
    assert check_file(path, images, only=("loads", "linear_dW")).holds


def test_plots_at_import_do_nothing(check_text: CheckText) -> None:
    text = (
        "import matplotlib\nfrom matplotlib import cm\nfrom matplotlib.figure import Figure\n"
        "import matplotlib.pyplot as plt\nfrom tqdm.auto import tqdm\n"
        "fig, (one, two, three) = plt.subplots(1, 3)\none.plot([1])\n"
        "with plt.style.context('x'):\n    plt.plot([1, 2])\nplt.show()\n"
        "for i in tqdm(range(3)):\n    print(i)\n"
    )
    report = check_text(text + SOLUTION)
    assert report.holds, report.result("loads").message


def test_a_process_that_answers_nonsense_is_that_files_result(check_text: CheckText) -> None:
    text = (
        "import sys\nframe = sys._getframe()\nwhile frame:\n"
        "    worker = frame.f_locals.get('self')\n    if hasattr(worker, 'answer'):\n"
        "        worker.answer = lambda request: {'reply': {'parts': {'linear': 'x'}}}\n"
        "    frame = frame.f_back\n"
    )
    report = check_text(text + SOLUTION)
    assert not report.holds
    assert "makes no sense" in report.result("loads").message
