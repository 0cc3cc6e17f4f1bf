"""The parts of `fmnist report`: from what is recorded to what is said of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Any

from fmnist_cli import plots
from fmnist_cli.analysis.answers import Answer, listing, study_note
from fmnist_cli.analysis.axes import AXIS_TITLES
from fmnist_cli.analysis.explain import explain
from fmnist_cli.analysis.result import StudyResult
from fmnist_cli.analysis.why.causes import Explanation
from fmnist_cli.engine import mini_cnn as engine
from fmnist_cli.engine.config import MAGNITUDE_IMAGES, MODELS, TrainConfig
from fmnist_cli.engine.parameters import compare_in_order, count
from fmnist_cli.formatting import percent, pluralize, seconds
from fmnist_cli.plots.from_records import caption_of, curve_of, ending_of
from fmnist_cli.report import tables
from fmnist_cli.report.blocks import Block, Finding, Formula, Listing, Picture, Prose, Section
from fmnist_cli.report.work import Work, checked_run, default_run, mini_cnn_run
from fmnist_cli.runner.command_line import figure_commands
from fmnist_cli.runner.find import recorded
from fmnist_cli.runner.mini_cnn import Training, examples_of, said_of_examples
from fmnist_cli.studies import STUDIES, Study, View
from fmnist_cli.studies.batch_size import BATCH_SIZE
from fmnist_cli.studies.early_stopping import EARLY_STOPPING, replay_table
from fmnist_cli.studies.learning_rate import LEARNING_RATE
from fmnist_cli.studies.momentum import MOMENTUM
from fmnist_cli.studies.shifted_images import SHIFTED_IMAGES
from fmnist_cli.studies.shifted_results import errors_table, shifted_examples
from fmnist_cli.studies.training import TRAINING
from fmnist_cli.tables import Table, headings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ASSIGNMENT = {  # what the parts of the assignment are called, by the section that answers them
    "checks": "Problem 3: the layers, their gradient and its magnitude",
    "training": "Problem 3: the training curve",
    "parameters": "Problem 3: the CNNs' parameters",
    "mini-cnn": "Problem 2: the mini CNN, its derivatives and the algorithm",
    **{study.kind: study.part for study in STUDIES.values()},
}
SHIFTED_CLASSES = 4  # of which the report shows an image
UNTESTED = (
    "What is said of causes here follows from these runs and the layers' form. `fmnist report "
    "--why` trains the runs that test it, each with one supposed cause taken away."
)
LINE = 150  # characters of a finding, unless its first sentence has more


@dataclass(frozen=True)
class Part:
    """A part that is done."""

    section: Section
    findings: tuple[Finding, ...]
    why: str = ""  # what tests its causes; empty where it has none, or tested them
    name: str = ""
    seconds: float = 0.0  # that it took this time
    n_new: int = 0  # runs that were trained for it


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
        f"{summary['e']:g}: largest relative error {summary['max_relative_error']:.1e}. One "
        "training step's update, divided by the learning rate, is the same gradient to "
        f"{summary['training_step_norm_relative_error']:.1e}."
    )
    size = (
        f"The L1 norm of dL/dW1 is {magnitude['l1_few']:.3f} on {few:,} images and "
        f"{magnitude['l1_many']:.3f} on {many:,}: {magnitude['ratio']:.2f} times as much, where a "
        f"sum in place of the mean would give about {many / few * magnitude['ratio']:.0f} times."
    )
    predicted = magnitude.get("ratio_predicted")
    noise = (
        f"From the noise of the single images' gradients {predicted:.2f} is expected: the mean "
        "over more images loses noise and keeps the gradient, so that its size hardly depends on "
        "how many images there are."
        if predicted is not None
        else ""
    )
    # on a smaller training set the report compares fewer images than the command does
    enough = work.config.train_size >= MAGNITUDE_IMAGES[1]
    with_magnitude = " --check-magnitude" if enough else ""
    section = Section(
        "checks",
        "Is the backpropagation right?",
        (
            Prose(
                "For each weight w that is checked, the derivative by backpropagation is compared "
                "with the central difference (L(w + e) - L(w - e)) / 2e, in float64, L the loss on "
                "the first "
                f"{summary['examples']} training images. Where a ReLU switches between w - e and "
                "w + e, the complex step judges instead."
            ),
            tables.layers_table(),
            tables.entries_table(entries),
            Prose(agreement),
            Prose(size),
            *([Prose(noise)] if noise else []),
        ),
        work.command(f"train --check-gradient{with_magnitude}", work.config),
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
    run = default_run(work)
    whole = recorded(work.registry, run)
    epochs = whole.epochs
    ending = ending_of(run)
    assert ending is not None
    figure = partial(plots.train_figure, curve_of(whole), caption_of([run]), ending)
    updates = pluralize(run.updates_to_best or 0, "gradient update")
    best = f"epoch {run.best_epoch} of {len(epochs)} ({updates})"
    facts = (
        ("Best epoch", best),
        ("Validation accuracy there", percent(run.best_val_accuracy)),
        ("Test accuracy there", percent(run.test_accuracy)),
        ("Training time", seconds(run.train_seconds)),
        ("End", ending.sentence(len(epochs))),
    )
    blocks: list[Block] = [
        tables.facts_table(f"Run {run.id}, of seed {run.seed}", facts),
        *(Prose(found.sentence) for found in explain(whole)),
    ]
    run_ids, seeds = [run.id], work.seeds
    verdict = percent(run.test_accuracy)
    line = f"test accuracy, by the weights of {best}, on one seed ({run.seed})."
    if len(work.seeds) > 1:
        result = work.train_study(TRAINING, work.config, ())
        blocks += [TRAINING.table(result, View()), *TRAINING.details(result, View())]
        run_ids += [one.run.id for one in result.runs if one.run.id != run.id]
        seeds = result.seeds
        found = [
            one.test_accuracy
            for one in result.runs
            if one.test_accuracy is not None and not one.diverged
        ]
        verdict = percent(fmean(found), 1)
        line = (
            f"test accuracy, the mean of {len(found)} seeds from {percent(min(found), 1)} to "
            f"{percent(max(found), 1)}. Seed {run.seed}, which is drawn, has "
            f"{percent(run.test_accuracy, 1)}."
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
            *blocks,
        ),
        work.command("train", work.config, seeds=seeds),
        tuple(run_ids),
    )
    question = "How good is the MLP at the defaults?"
    return Part(section, (Finding("training", question, verdict, line),))


def study_part(
    study: Study,
    work: Work,
    values: Sequence[Any] | None = None,
    words: str = "",
    further: Callable[[StudyResult], Table | None] | None = None,
) -> Part:
    """A study's figure and table, another table of its result (``further``), then its answers.

    ``values`` are compared and ``words`` typed for them where it is not the command's own choice.
    """
    config = work.config
    epochs = study.defaults.get("epochs", TrainConfig.epochs)  # the command's own
    if "patience" in study.defaults:
        most = min(epochs, config.epochs) if work.quick else epochs
        config = config.but(epochs=most, patience=None)
    left_out: list[str] = []
    if values is None:
        values, left_out = study.usual_values(config)
    result = work.train_study(study, config, values)
    view = View()
    picture = _picture(
        study.kind,
        partial(study.figure, result, view),
        study.caption,
        f"{study.alt(result, view)} The numbers are in the table below.",
    )
    given = study.answers(result, view)
    explanations, tested = work.explain(study, config, result, view)
    typed = work.command(words or study.words(values), config, epochs=epochs, seeds=result.seeds)
    blocks: list[Block] = [picture, study.table(result, view)]
    if further and (more := further(result)):
        blocks.append(more)
    blocks += [Prose(f"{reason[:1].upper()}{reason[1:]}") for reason in left_out]
    if given:
        blocks += [Prose(study_note(result.runs)), *given]  # on how many seeds they rest
    untested = ""
    if work.why:
        blocks += _why(study, result, explanations)
        typed += " --why"
    elif explanations:
        blocks += [*explanations, Prose(UNTESTED)]
        untested = f"{typed} --why"
    section = Section(
        study.kind,
        study.title,
        tuple(blocks),
        typed,
        tuple(run.run.id for run in (*result.runs, *tested)),
        figure_commands(explanations),
    )
    return Part(section, tuple(_finding(study.kind, answer) for answer in given), untested)


def parameters(work: Work) -> Part:
    """Every model's parameters, from the closed forms."""
    counts = tuple(count(model, work.config.hidden) for model in MODELS)
    statements = [comparison.statement for comparison in compare_in_order(counts)]
    section = Section(
        "parameters",
        "How many parameters",
        (
            tables.parameters_table((*counts, count("mini-cnn"))),
            *map(Prose, (*statements, *_where_they_are())),
        ),
        work.command("count-params", TrainConfig(hidden=work.config.hidden), reads_data=False),
    )
    smallest = min(counts, key=lambda of_model: of_model.total)
    line = " ".join([f"with {smallest.total:,} parameters.", *statements])
    question = "Which model has the fewest parameters?"
    return Part(section, (Finding("parameters", question, smallest.model, line),))


def _where_they_are() -> tuple[str, str]:
    """Which layer has a CNN's parameters, and why."""
    cnn2, cnn3 = count("cnn2"), count("cnn3")
    dense2, dense3 = ([layer for layer in cnn.layers if layer.count][-1] for cnn in (cnn2, cnn3))
    said = [
        f"{dense.count:,} parameters for {cnn.model}'s {dense.input_shape[0]:,} features"
        for cnn, dense in ((cnn2, dense2), (cnn3, dense3))
    ]
    saved = dense2.count - dense3.count
    return (
        "A kernel is shared by all places; a dense layer needs a weight for every feature and "
        f"class: the output layers have {listing(said)}.",
        f"cnn3's second convolution adds {cnn3.total - cnn2.total + saved:,} parameters. Its "
        f"second pooling leaves fewer features, which saves {saved:,} in the output layer.",
    )


def shifted_images(work: Work) -> Part:
    """Every model on the test set and on its shifted copies, and what those look like."""
    part = study_part(
        SHIFTED_IMAGES,
        work,
        MODELS,
        "ood --model all",
        further=lambda result: errors_table(result.runs),
    )
    figure = partial(
        plots.ood_samples_figure,
        shifted_examples(work.dataset, {}, n_classes=SHIFTED_CLASSES),
        plots.RunCaption(run_id=None, model=f"one test image of {SHIFTED_CLASSES} classes"),
    )
    alt = (
        f"{SHIFTED_CLASSES} test images of different classes, each as it is, moved up by 4 pixels "
        "and rotated by 90, 180 and 270 degrees."
    )
    caption = f"One test image of each of {SHIFTED_CLASSES} classes, as it is and shifted."
    samples = _picture("ood-samples", figure, caption, alt)
    blocks = (samples, *part.section.blocks)
    return replace(part, section=replace(part.section, blocks=blocks))


def mini_cnn(work: Work) -> Part:
    """The exercise of the mini CNN."""
    exercise = engine.Exercise()
    found = engine.check(exercise)
    run = mini_cnn_run(work, exercise, found)
    first, *_, last = work.registry.epochs(run.id)
    training = Training(seed=run.seed)  # the run's: see ``mini_cnn_run``
    x, y = examples_of(training)
    start = float(engine.loss(y, engine.forward(x, exercise.w, exercise.v)["y_hat"]).mean())
    worst = max(one.relative_error for one in found)
    line = f"Four derivatives against differences: largest relative error {worst:.1e}."
    trained = (
        ("Initial weights", exercise.weights),
        ("Learning rate", f"{training.lr:g}"),
        ("Loss before the training", f"{start:.4f}"),
        (f"Loss after {pluralize(first.updates, 'update')}", f"{first.train_loss:.4f}"),
        (f"Loss after {pluralize(last.updates, 'update')}", f"{last.train_loss:.4f}"),
        ("Examples that are right then", percent(last.train_accuracy, 1)),
    )
    *derived, loop = engine.worked(exercise)
    section = Section(
        "mini-cnn",
        "The mini CNN (Problem 2)",
        (
            Prose(
                "One filter (w1, w2) over three inputs, a ReLU, a linear layer (v1, v2); the loss, "
                f"in nats, is logistic. At {exercise}."
            ),
            *(Formula(f"{name} = {formula}") for name, formula in engine.DEFINITION.items()),
            *(Listing(*map(tables.typeset, one)) for one in derived),
            Listing(*loop),
            tables.derivative_checks_table(found),
            Prose(line),
            Prose(f"The training: {said_of_examples(training)}"),
            tables.facts_table(f"The training of run {run.id}", trained),
        ),
        work.command("mini-cnn --train", TrainConfig(seed=work.config.seed), reads_data=False),
        (run.id,),
    )
    verdict = "yes" if all(one.holds for one in found) else "no"
    question = "Does the chain rule hold on the mini CNN?"
    return Part(section, (Finding("mini-cnn", question, verdict, line),))


def questions(parts: Sequence[Part]) -> Section:
    """The assignment part by part: each question, its answer, the figure and the command."""
    rows: list[tuple[str, ...]] = []
    for part in parts:
        pictures = (block.name for block in part.section.blocks if isinstance(block, Picture))
        figures, name = ", ".join(pictures), ASSIGNMENT[part.section.key]
        rows += [
            (name, finding.question, finding.verdict, figures, part.section.command)
            for finding in part.findings
        ]
        if part.why:
            rows.append((name, "Why?", "see there; --why tests it", "", part.why))
    caption = "What answers which part; the figures are files of these names"
    columns = headings("<Part", "<Question", "<Answer", "<Figure", "<Command")
    title = "The assignment, part by part"
    return Section("questions", title, (Table(caption, columns, tuple(rows)),))


def _why(study: Study, result: StudyResult, explanations: Sequence[Explanation]) -> Iterator[Block]:
    """Each question with what explains it, and how each cause stood its test."""
    labels = ", ".join(result.by_label())
    for one in explanations:
        yield one
        if one.causes:
            yield tables.causes_table(one)
        if one.axis is not None:
            view = View(axis=one.axis)
            step = "lr / (1 - momentum)" if any(r.momentum for r in result.runs) else "lr"
            words = f"The curves by {AXIS_TITLES[one.axis]}: the sum of {step} over the updates."
            alt = f"Line charts by {AXIS_TITLES[one.axis]}, one line each: {labels}."
            yield _picture(f"{study.kind}-why", partial(study.figure, result, view), words, alt)


# In the assignment's order, by which the sections are numbered; what is beyond it comes last.
PARTS: Mapping[str, Callable[[Work], Part]] = {
    "gradient and magnitude checks": checks,
    "training curve": training,
    "batch sizes": partial(study_part, BATCH_SIZE),
    "early stopping": partial(study_part, EARLY_STOPPING, further=replay_table),
    "momentum": partial(study_part, MOMENTUM),
    "parameter counts": parameters,
    "shifted images": shifted_images,
    "mini CNN": mini_cnn,
    "learning rates": partial(study_part, LEARNING_RATE),
}


def _finding(key: str, answer: Answer) -> Finding:
    """What follows the verdict, as many sentences as fit a line or two."""
    line, *more = answer.statement.partition(". ")[2].removesuffix(".").split(". ")
    for sentence in more:
        if len(f"{line}. {sentence}") > LINE:
            break
        line += f". {sentence}"
    return Finding(key, answer.question, answer.verdict, f"{line}.")


def _picture(name: str, figure: Callable[[], Figure], caption: str, alt: str) -> Picture:
    """The figure for a desk, and drawn once more for a phone."""
    wide = plots.to_svg(figure())
    with plots.narrow():
        return Picture(name, caption, alt, wide, plots.to_svg(figure()))
