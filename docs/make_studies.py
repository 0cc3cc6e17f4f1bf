"""Remake ``docs/studies.md``, the pictures in ``docs/images`` and the numbers of the pages about
seeds from runs on the real data.

    make docs-studies

Every number and sentence on the page is what a command printed; nothing is typed in by hand.
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.text import Text

from fmnist_cli.formatting import percent
from fmnist_cli.studies import Study
from fmnist_cli.studies.batch_size import BATCH_SIZE
from fmnist_cli.studies.early_stopping import EARLY_STOPPING
from fmnist_cli.studies.learning_rate import LEARNING_RATE
from fmnist_cli.studies.momentum import MOMENTUM
from fmnist_cli.studies.shifted_images import SHIFTED_IMAGES

DOCS = Path(__file__).parent
IMAGES = DOCS / "images"
WIDTH = 100
SVG = (
    '<svg class="rich-terminal" viewBox="0 0 {width} {height}" '
    'xmlns="http://www.w3.org/2000/svg"><style>{styles}'
    ".{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', "
    "monospace; font-size: {char_height}px; line-height: {line_height}px; "
    "font-variant-east-asian: full-width; }}</style>"
    '<defs><clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" '
    'height="{terminal_height}"/></clipPath>{lines}</defs>{chrome}'
    '<g transform="translate({terminal_x}, {terminal_y})" '
    'clip-path="url(#{unique_id}-clip-terminal)">{backgrounds}'
    '<g class="{unique_id}-matrix">{matrix}</g></g></svg>'
)

SHIFTED = (SHIFTED_IMAGES, ["--model", "all", "--why"], [])
PATIENCES = ["--patience", "1", "--patience", "3", "--patience", "5"]
SHOWN = (  # the study, and what is typed after its command and after its plot
    (BATCH_SIZE, ["--seeds", "5", "--why"], []),
    (EARLY_STOPPING, [*PATIENCES, "--seeds", "5", "--why"], PATIENCES),
    (MOMENTUM, ["--seeds", "5", "--jobs", "2", "--why"], []),
    SHIFTED,
    (LEARNING_RATE, ["--seeds", "5", "--why"], []),
)


def fmnist(
    *args: str, work: Path, colour: bool = False, width: int = WIDTH, holds: bool = True
) -> str:
    """What the command prints on stdout; ``holds=False`` where a check is meant not to."""
    environment = os.environ | {"COLUMNS": str(width)}
    environment |= {"FORCE_COLOR": "1"} if colour else {"NO_COLOR": "1"}
    command = [sys.executable, "-m", "fmnist_cli", *args]
    print("fmnist", *args, file=sys.stderr)
    done = subprocess.run(
        command, cwd=work, env=environment, check=holds, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


def picture(name: str, args: list[str], work: Path, *, holds: bool = True) -> None:
    """The terminal after the command, as an SVG."""
    printed = fmnist(*args, work=work, colour=True, holds=holds)
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(printed.rstrip() + "\n"), soft_wrap=True)  # room for _ and g
    svg = console.export_svg(title=" ".join(["fmnist", *args]), code_format=SVG)
    (IMAGES / f"{name}.svg").write_text(re.sub(r"terminal-\d+", f"terminal-{name}", svg))


CHECKED = """\
import numpy as np


class linear_layer:
    def __init__(self, input_D, output_D):
        self.params = {'W': np.random.normal(0, 0.1, (input_D, output_D)),
                       'b': np.random.normal(0, 0.1, output_D)}
        self.gradient = {'W': np.zeros((input_D, output_D)), 'b': np.zeros(output_D)}

    def forward(self, X):
        return X @ self.params['W'] + self.params['b']

    def backward(self, X, grad):
        self.gradient['W'] = X.T @ grad
        self.gradient['b'] = np.mean(grad, axis=0)
        return grad @ self.params['W'].T


class relu:
    def forward(self, X):
        return np.maximum(X, 0)

    def backward(self, X, grad):
        return grad * (grad > 0)


def miniBatchGradientDescent(model, learning_rate):
    for layer in model.values():
        for key in getattr(layer, 'params', {}):
            layer.params[key] -= learning_rate * layer.gradient[key]
    return model
"""


def picture_of_check(work: Path) -> None:
    """Layers with two mistakes, checked."""
    (work / "neural_networks.py").write_text(CHECKED)
    picture("check", ["check", "neural_networks.py", "--hints", "2"], work, holds=False)


def section(study: Study, words: list[str], plot_words: list[str], work: Path) -> str:
    """One study of the page: command, table, figure, answers."""
    args = [study.kind, *words]
    printed = fmnist(*args, "--quiet", work=work).rstrip()
    plot = [study.plot_name, *plot_words]
    image = f"{study.plot_name}.svg"
    fmnist("plot", *plot, "--out", str(IMAGES / image), "--quiet", work=work)
    return (
        f"## {study.title}\n\n{study.question}\n\n"
        f"```console\n$ fmnist {' '.join(args)}\n{printed}\n```\n\n"
        f"![{study.caption}](images/{image})\n\n"
        f"Drawn by `fmnist plot {' '.join(plot)}`.\n"
    )


MEASURED = {  # what the pages about seeds say of numbers that were measured
    "explanation/seeds.md": """\
The network of [the tutorial](../tutorial.md), trained from five seeds, came to test accuracies from
{lowest} to {highest} (`fmnist train --seeds 5`): a standard deviation of {sd} points with nothing
changed at all. Five momenta on seed 42 differ by {momenta} points. Some of that is chance, and one
seed cannot say how much.
""",
    "howto/seeds.md": """\
| it says | it means |
| --- | --- |
| {mean} ± {sd} | mean and standard deviation: how much single runs differ |
| {low} to {high} | the 95 % interval of the mean: where the mean of very many seeds would lie |
| n | the seeds that it rests on; a run that diverged is in no mean |
""",
}
README = DOCS.parent / "README.md"
GLANCE = """\
| | on the real data, five seeds (the CNNs one) | command |
| --- | --- | --- |
| batch size | test accuracy {batches}; on average the curves lie {by_epoch} points apart at the same epoch, {by_rate} at the same cumulative learning rate | `fmnist sweep-batch --seeds 5 --why` |
| early stopping | points of test accuracy lost by the patience: {patiences}; from {enough} on every seed keeps its best epoch | `fmnist early-stop --seeds 5 --why` |
| momentum | lowest training loss {losses} | `fmnist momentum --seeds 5 --why` |
| parameters | {parameters} | `fmnist count-params` |
| shifted images | moved up by 4 pixels {up4}, rotated by 90° {rot90}; chance is 10 % | `fmnist ood --model all --why` |
"""  # noqa: E501
BETWEEN = re.compile(r"(<!-- measured -->\n).*?(<!-- end -->\n)", re.DOTALL)


def fill_in_seeds(work: Path) -> None:
    """The numbers of the pages about seeds, from five seeds and from the momenta of one."""
    seeds = json.loads(fmnist("train", "--seeds", "5", "--json", work=work))
    found = seeds["arms"][0]["test_accuracy"]
    momenta = json.loads(fmnist("momentum", "--json", work=work))
    accuracies = [run["test_accuracy"] for run in momenta["runs"]]
    numbers = {
        "lowest": percent(found["minimum"]),
        "highest": percent(found["maximum"]),
        "mean": percent(found["mean"]),
        "low": percent(found["low"]),
        "high": percent(found["high"]),
        "sd": f"{100 * found['sd']:.2f}",
        "momenta": f"{100 * (max(accuracies) - min(accuracies)):.2f}",
    }
    for name, text in MEASURED.items():
        fill_in(DOCS / name, text.format(**numbers))


def fill_in(page: Path, text: str) -> None:
    """Put the text between the page's marks."""
    filled = BETWEEN.sub(
        lambda found: f"{found[1]}{text}{found[2]}", page.read_text(encoding="utf-8")
    )
    page.write_text(filled, encoding="utf-8")


def fill_in_glance(work: Path) -> None:
    """What the studies found, as the README has it: from their documents."""
    sweep, stops, momenta, shifted = (
        json.loads(fmnist(study.kind, *words, "--json", "--quiet", work=work))
        for study, words, _ in SHOWN[:4]
    )

    def means(rows: list[dict[str, Any]], name: str, of: str) -> list[tuple[Any, float]]:
        return [(row[of], fmean(row[name])) for row in rows]

    gap = next(one["evidence"] for one in sweep["explanations"] if one["axis"])["gap_by_axis"]
    counts = json.loads(fmnist("count-params", "--json", work=work))["models"]
    rows = {row["model"]: row for row in shifted["table"] if row["measure"] == "accuracy"}
    numbers = {
        "batches": ", ".join(
            f"{percent(mean, 1)} at batch {batch:,}"
            for batch, mean in means(sweep["table"], "test_accuracy", "batch")
        ),
        "by_epoch": f"{100 * gap['epoch']:.1f}",
        "by_rate": f"{100 * gap['cumulative-lr']:.1f}",
        "patiences": ", ".join(
            f"{100 * fmean(row['cost']):.1f} at {row['patience']}"
            for row in stops["replay"]
            if row["patience"] in (1, 3, 5)
        ),
        "enough": stops["replay"][-1]["patience"],
        "losses": ", ".join(
            f"{mean:.3f} at {alpha}"
            for alpha, mean in means(momenta["table"], "lowest_train_loss", "momentum")
        ),
        "parameters": ", ".join(f"{one['model']} {one['total']:,}" for one in counts),
        **{
            name: ", ".join(
                f"{model} {percent(fmean(row[name]), 1)}" for model, row in rows.items()
            )
            for name in ("up4", "rot90")
        },
    }
    fill_in(README, GLANCE.format(**numbers))


def environment(work: Path) -> str:
    run: dict[str, Any] = json.loads(fmnist("runs", "show", "--json", work=work))
    found = run["environment"]
    packages = ", ".join(f"{name} {version}" for name, version in found["packages"].items())
    return (
        f"{found['cpus']} cores ({found['cpu']}), Python {found['python']}, {packages}; "
        f"fmnist {run['fmnist_version']}, {run['started_at'][:10]}."
    )


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        picture("train", ["train", "--batch", "5", "--check-gradient", "--check-magnitude"], work)
        picture_of_check(work)
        fmnist("plot", "train", "--out", str(IMAGES / "train-curve.svg"), work=work)
        fmnist("plot", "samples", "--out", str(IMAGES / "samples.png"), work=work)
        parts = [section(*shown, work) for shown in SHOWN]
        fill_in_seeds(work)
        fill_in_glance(work)
        fmnist("plot", "ood", "--samples", "--out", str(IMAGES / "ood-samples.png"), work=work)
        parts[SHOWN.index(SHIFTED)] += (
            "\n![Shifted images and what each model takes them for](images/ood-samples.png)\n\n"
            "Drawn by `fmnist plot ood --samples`.\n"
        )
        parameters = fmnist("count-params", "--verify", work=work).rstrip()
        parts.append(
            f"## Parameters\n\n```console\n$ fmnist count-params --verify\n{parameters}\n```\n"
        )
        checked = fmnist("gradcheck", "--batch", "50", "--samples", "3", work=work).rstrip()
        parts.append(
            "## Is the gradient right?\n\n```console\n"
            f"$ fmnist gradcheck --batch 50 --samples 3\n{checked}\n```\n"
        )
        head = (
            "# The studies on the real data\n\n"
            "Made by `make docs-studies`; every number and sentence below a command is what it "
            f"printed.\n\nMachine: {environment(work)}\n\n"
            "Fashion-MNIST: MIT licence, (c) Zalando SE.\n\n"
        )
    (DOCS / "studies.md").write_text(head + "\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
