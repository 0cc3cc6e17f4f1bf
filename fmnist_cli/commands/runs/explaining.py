"""`fmnist runs explain`: why a run went as it did."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmnist_cli.commands._option_groups import Common
from fmnist_cli.commands._options import with_options
from fmnist_cli.commands._output import Output, escape
from fmnist_cli.commands.runs._common import STATUS_STYLE, OneRun
from fmnist_cli.runner.command_line import resume_hint

if TYPE_CHECKING:
    from fmnist_cli.analysis.explain import Longer
    from fmnist_cli.registry import Registry, RunRecord

MAY_DIFFER = ("epochs", "patience")


@with_options()
def explain(
    common: Common,
    run_id: OneRun = "latest",
) -> None:
    """Say in a few sentences why a run went as it did.

    Each sentence is a rule that its curve meets: diverged, unstable, still improving at the limit,
    overfitting, too small a patience (judged by a longer run of the same configuration, where there
    is one), too small a learning rate.

    Examples:
      # the newest run
      fmnist runs explain
      # run 3, for a program
      fmnist runs explain 3 --json
    """
    from fmnist_cli.analysis.explain import explain as explain_run
    from fmnist_cli.registry import Registry
    from fmnist_cli.runner.find import recorded

    out = Output(common)
    with Registry.open(common.db, readonly=True) as registry:
        run = registry.get_run(run_id)
        trained = recorded(registry, run)
        longer = _longer(registry, run)
        data_folder = registry.environment(run.id).get("data_folder")
    findings = explain_run(
        trained,
        lr=run.lr,
        patience=run.patience,
        monitor=run.monitor,  # type: ignore[arg-type]
        hidden=run.hidden,
        longer=longer,
    )
    document = {"id": run.id, "status": run.status, "findings": findings}
    out.document("fmnist.runs.explain/1", document)
    style = STATUS_STYLE[run.status]
    out.section(
        f"Run {run.id}: [{style}]{run.status}[/]", *(escape(one.sentence) for one in findings)
    )
    out.next(resume_hint(run, data_folder), f"runs show {run.id}", f"plot train --run {run.id}")


def _longer(registry: Registry, run: RunRecord) -> Longer | None:
    """The longest run on the same data that differs in its limit and its patience alone."""
    from fmnist_cli.analysis.explain import Longer
    from fmnist_cli.runner.find import recorded

    def fixed(one: RunRecord) -> tuple[object, ...]:
        config = {k: v for k, v in one.config.items() if k not in MAY_DIFFER}
        return (*sorted(config.items()), one.data_fingerprint)

    others = [
        one
        for one in registry.list_runs(model=run.model)
        if one.epochs_run > run.epochs_run and fixed(one) == fixed(run) and one.best_epoch
    ]
    if not others:
        return None
    best = max(others, key=lambda one: one.epochs_run)
    return Longer(f"run {best.id}", recorded(registry, best))
