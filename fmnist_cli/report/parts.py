"""The parts of `fmnist report`: from what is recorded to what is said of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fmnist_cli.commands.early_stop import EPOCHS as EARLY_STOP_EPOCHS
from fmnist_cli.commands.momentum import ALPHAS, arm_label
from fmnist_cli.commands.momentum import EPOCHS as MOMENTUM_EPOCHS
from fmnist_cli.commands.sweep_batch import BATCHES
from fmnist_cli.engine.config import MAGNITUDE_IMAGES, MODELS, TrainConfig
from fmnist_cli.formatting import percent, pluralize, seconds
from fmnist_cli.plots import from_records as _figures
from fmnist_cli.report import Finding, Picture, Prose, Section, Table, draw, tables
from fmnist_cli.report.work import (
    Work,
    checked_run,
    default_run,
    mini_cnn_run,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fmnist_cli import analysis as answers
    from fmnist_cli.analysis.result import StudyResult

PATIENCES = (1, 2, 3, 4, 5)  # of the table; the answers are about the default
LINE = 150  # characters of a finding, unless its first sentence has more


@dataclass(frozen=True)
class Part:
    """A part that is done: its section, and its lines in the summary."""

    section: Section
    findings: tuple[Finding, ...]


def checks(work: Work) -> Part:
    """The gradient and magnitude checks, as a run recorded them."""
    run = checked_run(work)
    records = work.registry.checks(run.id)
    (summary,) = [c.figures for c in records if (c.kind, c.name) == ("gradient", "summary")]
    (magnitude,) = [c.figures for c in records if c.kind == "magnitude"]
    entries = [c for c in records if c.kind == "gradient" and c.name != "summary"]
    few, many = magnitude["examples_few"], magnitude["examples_many"]
    agreement = (
        f"{summary['entries_checked']} entries against central differences, e = "
        f"{summary['e']:g}: largest relative error {summary['max_relative_error']:.1e}; the "
        f"training step's own gradient to {summary['training_step_norm_relative_error']:.1e}."
    )
    size = (
        f"The L1 norm of dL/dW1 is {magnitude['l1_few']:.3f} on {few:,} images and "
        f"{magnitude['l1_many']:.3f} on {many:,}: {magnitude['ratio']:.2f} times as much, where a "
        f"sum in place of the mean would give about {many / few * magnitude['ratio']:.0f} times."
    )
    # on a smaller training set the report compares fewer images than the command does
    enough = work.config.train_size >= MAGNITUDE_IMAGES[1]
    with_magnitude = " --check-magnitude" if enough else ""
    section = Section(
        "checks",
        "Is the backpropagation right?",
        (
            Prose(
                f"Backpropagation against central differences on the first {summary['examples']} "
                "training images, in float64. An entry whose difference straddles a kink of the "
                "ReLU is judged by the complex step instead."
            ),
            tables.entries_table(entries),
            Prose(agreement),
            Prose(size),
        ),
        work.training_command(f"train --check-gradient{with_magnitude}", work.config),
        (run.id,),
    )
    return Part(
        section,
        (
            Finding("checks", "Is the backpropagation right?", "yes", agreement),
            Finding("checks", "Is the loss a mean over the images?", "yes", size),
        ),
    )


def training(work: Work) -> Part:
    """One training at the defaults."""
    from fmnist_cli import plots

    run = default_run(work)
    epochs = work.registry.epochs(run.id)
    ending = _figures.ending_of(run)
    assert ending is not None
    figure = plots.train_figure(_figures.curve_of(epochs), _figures.caption_of([run]), ending)
    updates = pluralize(run.updates_to_best or 0, "gradient update")
    best = f"epoch {run.best_epoch} of {len(epochs)} ({updates})"
    facts = (
        ("Best epoch", best),
        ("Validation accuracy there", percent(run.best_val_accuracy)),
        ("Test accuracy there", percent(run.test_accuracy)),
        ("Training time", seconds(run.train_seconds)),
        ("End", ending.sentence(len(epochs))),
    )
    alt = (
        "Line charts of accuracy and loss on training and validation images over "
        f"{pluralize(len(epochs), 'epoch')}. The best validation accuracy, "
        f"{percent(run.best_val_accuracy)}, is at epoch {run.best_epoch}."
    )
    section = Section(
        "training",
        "The training curve",
        (
            _picture("training", figure, "Accuracy and loss by epoch.", alt),
            tables.facts_table(f"Run {run.id}, on one seed ({run.seed})", facts),
        ),
        work.training_command("train", work.config),
        (run.id,),
    )
    line = f"test accuracy, by the weights of {best}, on one seed ({run.seed})."
    question = "How good is the MLP at the defaults?"
    return Part(section, (Finding("training", question, percent(run.test_accuracy), line),))


def batch_sizes(work: Work) -> Part:
    """The sweep of batch sizes, timed one run after the other."""
    from fmnist_cli.analysis import sweep_answers

    sizes = [size for size in BATCHES if size <= work.config.train_size]
    arms = [(f"batch {size}", work.config.but(batch=size)) for size in sizes]
    result = work.train_study("sweep-batch", arms, timed=True)
    given = "" if len(sizes) == len(BATCHES) else "".join(f" --batch {size}" for size in sizes)
    alt = (
        "Charts of test accuracy, training time, epochs and gradient updates to the best model "
        f"against the batch sizes {', '.join(f'{size:,}' for size in sizes)}."
    )
    return _study_part(
        "batch-sizes",
        "The batch size",
        result,
        "What the batch size does to accuracy, time and updates. The runs were timed one after "
        "the other.",
        alt,
        tables.sweep_table(result),
        sweep_answers(result.runs),
        work.study_command(f"sweep-batch{given}", work.config),
    )


def early_stopping(work: Work) -> Part:
    """The whole curve, and where a patience stops on it."""
    from fmnist_cli.analysis import apply_patience, early_stop_answers

    config = work.without_stopping(EARLY_STOP_EPOCHS)
    arms = [(f"batch {config.batch}", config)]
    result = work.train_study("early-stop", arms, test_every_epoch=True)
    runs = [run for run in result.runs if run.best_epoch is not None]
    patience = TrainConfig.patience
    assert patience is not None
    kept = [apply_patience(run, p, config.monitor) for p in PATIENCES for run in runs]
    given = "".join(f" --patience {p}" for p in PATIENCES)
    alt = (
        f"Line chart of train, validation and test accuracy over {config.epochs} epochs, marked "
        f"where patience {patience} stops."
    )
    return _study_part(
        "early-stopping",
        "When to stop",
        result,
        f"{config.epochs} epochs without early stopping, and where patience {patience} would have "
        "stopped.",
        alt,
        tables.stops_table(result, kept),
        early_stop_answers(runs, [patience], config.monitor),
        work.study_command(f"early-stop{given}", config, epochs=EARLY_STOP_EPOCHS),
    )


def momenta(work: Work) -> Part:
    """The same number of epochs with each momentum."""
    from fmnist_cli.analysis import momentum_answers

    config = work.without_stopping(MOMENTUM_EPOCHS)
    arms = [(arm_label(alpha), config.but(momentum=alpha)) for alpha in ALPHAS]
    result = work.train_study("momentum", arms, test_every_epoch=True)
    alt = (
        f"Line charts of training loss and test accuracy over {config.epochs} epochs, one line "
        f"for each momentum: {', '.join(f'{alpha:g}' for alpha in ALPHAS)}."
    )
    return _study_part(
        "momentum",
        "Momentum",
        result,
        "Training loss and test accuracy by epoch, one line a momentum.",
        alt,
        tables.momentum_table(result),
        momentum_answers(result.runs),
        work.study_command("momentum", config, epochs=MOMENTUM_EPOCHS),
    )


def parameters(work: Work) -> Part:
    """Every model's parameters, from the closed forms."""
    from fmnist_cli.engine.parameters import compare_in_order, count

    counts = tuple(count(model, work.config.hidden) for model in MODELS)
    statements = [comparison.statement for comparison in compare_in_order(counts)]
    section = Section(
        "parameters",
        "How many parameters",
        (
            tables.parameters_table((*counts, count("mini-cnn"))),
            *(Prose(statement) for statement in statements),
        ),
        work.command("count-params", TrainConfig(hidden=work.config.hidden)),
    )
    smallest = min(counts, key=lambda of_model: of_model.total)
    line = " ".join([f"with {smallest.total:,} parameters.", *statements])
    question = "Which model has the fewest parameters?"
    return Part(section, (Finding("parameters", question, smallest.model, line),))


def shifted_images(work: Work) -> Part:
    """Every model on the test set and on its shifted copies."""
    from fmnist_cli.analysis import ood_answers
    from fmnist_cli.commands.ood import record_shifted

    arms = [(name, work.config.but(model=name)) for name in MODELS]
    result = work.train_study("ood", arms, after=record_shifted)
    runs = [run for run in result.runs if run.evaluations]
    scores = _figures.scores_of(runs)
    alt = f"Bar chart of the accuracy of {', '.join(MODELS)} on the test set and shifted copies."
    return _study_part(
        "shifted-images",
        "Images it was not trained for",
        result,
        "Accuracy on the test set, on images moved up by 4 pixels and on rotated images.",
        alt,
        tables.scores_table(result, scores),
        ood_answers(scores) if scores else (),
        work.study_command("ood --model all", work.config),
    )


def mini_cnn(work: Work) -> Part:
    """The exercise of the mini CNN."""
    from fmnist_cli.engine import mini_cnn as engine

    x, y, w, v = engine.DEFAULT_X, engine.DEFAULT_Y, engine.DEFAULT_W, engine.DEFAULT_V
    forward = engine.forward(x, w, v)
    found = engine.check(x, y, w, v)
    run = mini_cnn_run(work, found)
    first, *_, last = work.registry.epochs(run.id)
    worst = max(one.judged.relative_error for one in found)
    holds = all(one.holds for one in found)
    line = f"Four derivatives against differences: largest relative error {worst:.1e}."
    trained = (
        f"Trained for {pluralize(last.updates, 'update')} on {run.train_size} examples made from "
        f"seed {run.seed}, its loss goes from {first.train_loss:.4f} after "
        f"{pluralize(first.updates, 'update')} to "
        f"{last.train_loss:.4f}, and it is right on {percent(last.train_accuracy, 1)} of them."
    )
    section = Section(
        "mini-cnn",
        "The mini CNN",
        (
            Prose(
                "One filter (w1, w2) over three inputs, a ReLU, a linear layer (v1, v2); the loss "
                "is ln(1 + exp(-y y^)), in nats."
            ),
            tables.forward_table(forward, float(engine.loss(y, forward.y_hat))),
            tables.chain_rule_table(engine.gradients(x, y, w, v), found),
            Prose(f"{line} {trained}"),
        ),
        work.command("mini-cnn --train", TrainConfig(seed=work.config.seed)),
        (run.id,),
    )
    question = "Does the chain rule hold on the mini CNN?"
    return Part(section, (Finding("mini-cnn", question, "yes" if holds else "no", line),))


PARTS: Mapping[str, Callable[[Work], Part]] = {
    "gradient and magnitude checks": checks,
    "training curve": training,
    "batch sizes": batch_sizes,
    "early stopping": early_stopping,
    "momentum": momenta,
    "parameter counts": parameters,
    "shifted images": shifted_images,
    "mini CNN": mini_cnn,
}


def _study_part(
    key: str,
    title: str,
    result: StudyResult,
    caption: str,
    alt: str,
    table: Table,
    given: Sequence[answers.Answer],
    command: str,
) -> Part:
    """A study's figure and table, then its answers."""
    picture = _picture(
        key, _figures.study_figure(result), caption, f"{alt} The numbers are in the table below."
    )
    runs = tuple(run.run.id for run in result.runs)
    section = Section(key, title, (picture, table, *given), command, runs)
    return Part(section, tuple(_finding(key, answer) for answer in given))


def _finding(key: str, answer: answers.Answer) -> Finding:
    """What follows the verdict, as many sentences as fit a line or two."""
    line, *more = answer.statement.partition(". ")[2].removesuffix(".").split(". ")
    for sentence in more:
        if len(f"{line}. {sentence}") > LINE:
            break
        line += f". {sentence}"
    return Finding(key, answer.question, answer.verdict, f"{line}.")


def _picture(name: str, figure: Figure, caption: str, alt: str) -> Picture:
    return Picture(name, caption, alt, draw(figure))
