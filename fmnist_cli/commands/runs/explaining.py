"""`fmnist runs explain`: why a run went as it did."""

from __future__ import annotations

import typer

from fmnist_cli.commands._option_groups import Common
from fmnist_cli.commands._options import with_options
from fmnist_cli.commands._output import Output, escape
from fmnist_cli.commands.runs._common import STATUS_STYLE, OneRun, resume_of


@with_options()
def explain(
    context: typer.Context,
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
    from fmnist_cli.registry import Registry
    from fmnist_cli.runner.find import explain_run

    out = Output(common)
    with Registry.open(common.db, readonly=True) as registry:
        run = registry.get_run(run_id)
        findings = explain_run(registry, run)
        hint = resume_of(context, registry, run)
    document = {"id": run.id, "status": run.status, "findings": findings}
    out.document("fmnist.runs.explain/1", document)
    style = STATUS_STYLE[run.status]
    out.section(
        f"Run {run.id}: [{style}]{run.status}[/]", *(escape(one.sentence) for one in findings)
    )
    out.next(hint, f"runs show {run.id}", f"plot train --run {run.id}")
