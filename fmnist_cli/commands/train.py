"""`fmnist train`: train one model, record it, and say how it went."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fmnist_cli.commands._option_groups import DataOptions, StudyOptions
from fmnist_cli.commands._options import typed, with_options
from fmnist_cli.commands._output import Output
from fmnist_cli.engine.config import MAGNITUDE_IMAGES, USER_ENGINE, TrainConfig
from fmnist_cli.errors import Diverged, require

ResultsFolder = Annotated[
    Path, typer.Option("--results", help="Folder for the result file that scripts read.")
]

# what layers of one's own know nothing of
_NOT_WITH_LAYERS = ("engine", "model", "momentum", "check_gradient", "check_magnitude")
# what `--resume` takes beside the run
_GO_WITH_RESUME = {"resume", "results", "data_dir", "allow_custom_data", "db", "json", "quiet"}


@with_options(omit=("plot", "why"))
def train(
    context: typer.Context,
    config: TrainConfig,
    study: StudyOptions,
    data: DataOptions,
    out: Output,
    check_gradient: Annotated[
        bool,
        typer.Option("--check-gradient", help="First compare backpropagation with differences."),
    ] = False,
    check_magnitude: Annotated[
        bool,
        typer.Option(
            "--check-magnitude", help="First compare the gradient's size on 50 and 5,000 images."
        ),
    ] = False,
    dynamics: Annotated[
        bool,
        typer.Option(
            "--dynamics",
            help="Record each layer's gradient norm and change, and the dead units, every epoch.",
        ),
    ] = False,
    layers: Annotated[
        Path | None,
        typer.Option(
            "--layers", metavar="FILE", help="Train the layers of this file: engine user."
        ),
    ] = None,
    log: Annotated[
        bool, typer.Option("--log", help="Print a line per epoch, such as a log to hand in.")
    ] = False,
    results: ResultsFolder = Path("results"),
    resume: Annotated[
        str | None,
        typer.Option(
            "--resume", metavar="ID", help="Continue an interrupted run with its own settings."
        ),
    ] = None,
) -> None:
    """Train one model on Fashion-MNIST and record every epoch.

    Stops early, and prints the best epoch, the test accuracy of its weights, and the time. The run
    goes to the registry (--db), its weights to the folder beside it, and its accuracies by epoch to
    a file in --results that course scripts read, named after what was trained. With --seeds it
    trains once per seed, and says how much the seeds differ. A run that was interrupted or killed
    continues with --resume, and ends as if it had not been. With --layers it trains layers that you
    wrote, from the same weights on the same batches.

    Exits 3 if a check does not hold (then nothing is trained), 4 if the training diverged.

    Examples:
      # the MLP of the course; first, is its gradient right?
      fmnist train --check-gradient --check-magnitude
      # a larger step on larger batches, with momentum
      fmnist train --lr 0.1 --batch 50 --momentum 0.5
      # five seeds, two at a time: how much of the result is chance?
      fmnist train --seeds 5 --jobs 2
      # the newest run was interrupted: continue it
      fmnist train --resume latest
    """
    from fmnist_cli.commands._data import open_session
    from fmnist_cli.commands._training_view import train_one
    from fmnist_cli.runner.training import Extras

    if resume is not None:
        from fmnist_cli.commands._training_view import resume_training

        other = " ".join(typed(context, but=_GO_WITH_RESUME).values())
        require(not other, "a resumed run keeps the settings it began with", other)
        resume_training(resume, data, out, results)
        return
    require(
        config.model == "mlp" or not check_magnitude,
        "check-magnitude is about the W1 of the mlp; --model must be mlp",
        config.model,
    )
    most = MAGNITUDE_IMAGES[1]
    require(
        config.train_size >= most or not check_magnitude,
        f"check-magnitude needs a --train-size of at least {most}",
        config.train_size,
    )
    seeds = study.seeds_from(config.seed)
    if len(seeds) > 1:
        require(
            layers is None and not (check_gradient or check_magnitude or log),
            "--layers, --check-gradient, --check-magnitude and --log go with one seed",
            f"{len(seeds)} seeds",
        )
        _train_seeds(config, study, data, out, results, dynamics)
        return
    beside = [flag for n, flag in typed(context).items() if n in ("jobs", "scheduler", "new")]
    must = "--jobs, --scheduler and --new go with several seeds"
    require(beside in ([], ["--jobs 1"]), must, f"{' '.join(beside)} and one seed")
    config = config.but(seed=seeds[0])
    parts = None
    if layers is not None:
        from fmnist_cli.usercode.backend import load_parts

        given = typed(context)
        others = " ".join(given[name] for name in given if name in _NOT_WITH_LAYERS)
        must = "layers are an MLP's, trained by SGD; check them with fmnist check"
        require(not others, must, f"--layers and {others}")
        config = config.but(engine=USER_ENGINE)
        parts = load_parts(layers)  # refused before anything is made
    extras = Extras(check_gradient, check_magnitude, dynamics, layers=layers)
    with open_session(config, data, out, results=results) as session:
        train_one(session, config, out, extras, results, log=log, parts=parts)


def _train_seeds(
    config: TrainConfig,
    study: StudyOptions,
    data: DataOptions,
    out: Output,
    results: Path,
    dynamics: bool,
) -> None:
    """Train every seed as one study, and show each, their spread and their interval.

    Every run keeps its result file; the first seed's is the one in ``results``.
    """
    from fmnist_cli.commands._data import open_session
    from fmnist_cli.commands._study import draw_study, show_study
    from fmnist_cli.runner.result_file import hand_in_recorded, keep_result_file
    from fmnist_cli.runner.run import Recipe
    from fmnist_cli.runner.study import run_study
    from fmnist_cli.studies import View
    from fmnist_cli.studies.training import TRAINING

    how = study.how(config.seed)
    with open_session(config, data, out, results=results) as session:
        result = run_study(
            session,
            Recipe(TRAINING.kind, dynamics=dynamics, after=keep_result_file),
            TRAINING.conditions(config, ()),
            reuse=not study.new,
            measured={"dynamics": True} if dynamics else None,
            **how,
        )
        paths = hand_in_recorded(session.registry, [result.runs[0].run], results, out)
    show_study(out, TRAINING, result, View(), result_file=next(iter(paths), None))
    draw_study(out, TRAINING, result, View(), None)
    result.require_complete()
    if diverged := [str(run.seed) for run in result.runs if run.diverged]:
        raise Diverged(
            f"the training diverged with {len(diverged)} of {len(result.runs)} seeds "
            f"({', '.join(diverged)}); they are in no mean.",
            remedy="smaller_lr",
        )
