"""Figures as files: their bytes, their errors, and that nothing global is left changed."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest

from fmnist_cli.errors import FmnistError, UsageError
from fmnist_cli.plots import Curve, Line, RunCaption, check_path, compare_figure, save, train_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CURVE = Curve([1, 2, 3], [0.9, 0.7, 0.6], [1, 0.8, 0.7], [0.7, 0.8, 0.8], [1, 0.9, 0.8], [0.6] * 3)

DRAW = """
import sys
from fmnist_cli.plots import Curve, RunCaption, save, train_figure
assert "matplotlib" not in sys.modules
curve = Curve([1, 2, 3], [.9, .7, .6], [1, .8, .7], [.7, .8, .8], [1, .9, .8], [.6] * 3)
figure = train_figure(curve, RunCaption(1, "mlp"))
for kind in ("png", "svg", "pdf"):
    save(figure, f"{sys.argv[1]}.{kind}")
assert "matplotlib.pyplot" not in sys.modules
"""


def draw(model: str = "mlp") -> Figure:
    return train_figure(CURVE, RunCaption(1, model))


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same figure from two processes whose hashes differ, an hour apart by their clock."""
    folder = tmp_path_factory.mktemp("twice")
    for seed in ("1", "2"):
        env = os.environ | {"PYTHONHASHSEED": seed, "SOURCE_DATE_EPOCH": f"{seed}00000000"}
        subprocess.run([sys.executable, "-c", DRAW, f"{folder}/{seed}"], check=True, env=env)
    return folder


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_same_figure_same_bytes(twice: Path, kind: str) -> None:
    first, second = (twice / f"{seed}.{kind}" for seed in "12")
    assert first.read_bytes() == second.read_bytes()
    assert len(first.read_bytes()) > 5000


def test_png_is_whole(twice: Path) -> None:
    data = (twice / "1.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at = 8
    kinds = []
    while at < len(data):
        length = int.from_bytes(data[at : at + 4])
        kind = data[at + 4 : at + 8]
        body = data[at + 8 : at + 8 + length]
        assert zlib.crc32(kind + body) == int.from_bytes(data[at + 8 + length : at + 12 + length])
        kinds.append(kind)
        at += 12 + length
    assert kinds[0] == b"IHDR"
    assert kinds[-1] == b"IEND"
    assert b"tIME" not in kinds


def test_svg_is_xml_whose_text_is_text(twice: Path) -> None:
    root = ElementTree.parse(twice / "1.svg").getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    words = "".join(root.itertext())
    assert "Training of mlp" in words
    assert "nats per example" in words
    assert "1970" not in words
    assert "dc:date" not in (twice / "1.svg").read_text()


def test_pdf_has_its_fonts_and_no_date(twice: Path) -> None:
    data = (twice / "1.pdf").read_bytes()
    assert data.startswith(b"%PDF-")
    assert data.rstrip().endswith(b"%%EOF")
    assert b"/FontFile2" in data
    assert b"CreationDate" not in data


def test_dpi_sets_the_pixels(tmp_path: Path) -> None:
    figure = draw()
    path = save(figure, tmp_path / "a.png", dpi=50)
    header = path.read_bytes()[16:24]
    width, height = int.from_bytes(header[:4]), int.from_bytes(header[4:])
    inches = figure.get_size_inches()
    assert abs(width - inches[0] * 50) <= 1
    assert abs(height - inches[1] * 50) <= 1
    with pytest.raises(UsageError, match=r"^dpi must be between 10 and 1200\. Received: 0\.$"):
        save(figure, tmp_path / "a.png", dpi=0)


@pytest.mark.parametrize("name", ["x.jpg", "x", "png", "x.PNG.gz", ".png"])
def test_other_endings_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError) as error:
        save(draw(), tmp_path / name)
    assert str(error.value) == (
        f"the plot's name must end in .png, .svg or .pdf. Received: {name}."
    )
    assert list(tmp_path.iterdir()) == []


def test_ending_in_capitals_is_fine(tmp_path: Path) -> None:
    assert save(draw(), tmp_path / "A.SVG").read_text().startswith("<?xml")


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "absent"
    with pytest.raises(UsageError) as error:
        check_path(folder / "a.png")
    assert str(error.value) == f"the plot's folder must exist. Received: {folder}."


def test_closed_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Root may write everywhere, so the answer is given here.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(UsageError) as error:
        check_path(tmp_path / "a.png")
    assert str(error.value) == f"the plot's folder must be writable. Received: {tmp_path}."


def test_name_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()
    with pytest.raises(UsageError, match="must not be that of a folder"):
        save(draw(), tmp_path / "a.png")


def test_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(FmnistError) as error:
        save(draw(), path)
    assert error.value.exit_code == 1
    assert str(error.value) == (
        f"the plot must be one that can be written. Received: {path} (No space left on device)."
    )
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "a.svg"
    link.symlink_to(tmp_path / "elsewhere" / "b.svg")
    save(draw(), link)
    assert link.is_symlink()
    assert (tmp_path / "elsewhere" / "b.svg").read_text().startswith("<?xml")


def test_names_are_drawn_as_they_are(tmp_path: Path) -> None:
    arms = [Line("_a $x_1$ <b>&", [CURVE]), Line("cost: 5$", [CURVE]), Line("run 😀 \\$", [CURVE])]
    path = save(compare_figure(arms, subtitle="half $\\frac{1}{2}$ of"), tmp_path / "a.svg")
    words = "".join(ElementTree.parse(path).getroot().itertext())
    for name in ("_a $x_1$ <b>&", "cost: 5$", "\\$", "half $\\frac{1}{2}$ of"):
        assert name in words


def test_what_no_svg_may_hold_is_written_out(tmp_path: Path) -> None:
    path = save(draw("mlp\x1b]0;x\x07\x00\x85\u202e"), tmp_path / "a.svg")
    words = "".join(ElementTree.parse(path).getroot().itertext())
    assert "mlp\\x1b]0;x\\x07\\x00\\x85\\u202e" in words


@pytest.mark.parametrize("backend", ["Qt4Agg", "module://matplotlib_inline.not_here", "svg"])
def test_the_backend_of_the_environment_is_no_obstacle(tmp_path: Path, backend: str) -> None:
    env = os.environ | {"MPLBACKEND": backend}
    show = "import os, matplotlib; print(os.environ['MPLBACKEND'], matplotlib.get_backend())"
    run = [sys.executable, "-c", f"{DRAW}\n{show}", f"{tmp_path}/a"]
    said = subprocess.run(run, check=True, env=env, capture_output=True, text=True).stdout.split()
    assert said[0] == backend
    assert (said[1] == backend) == (backend != "Qt4Agg")  # kept for who shows figures
    assert (tmp_path / "a.png").stat().st_size > 5000


def test_nothing_leaks_and_nothing_leaks_in(tmp_path: Path) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    plain = save(draw(), tmp_path / "plain.svg").read_bytes()
    assert dict(matplotlib.rcParams) == before
    with matplotlib.rc_context({"lines.linewidth": 20, "axes.facecolor": "red", "font.size": 30}):
        inside = dict(matplotlib.rcParams)
        assert save(draw(), tmp_path / "loud.svg").read_bytes() == plain
        assert dict(matplotlib.rcParams) == inside
    with pytest.raises(UsageError):
        compare_figure([])
    assert dict(matplotlib.rcParams) == before
