"""`fmnist doctor`: is everything there, and if not, what fixes it?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fmnist_cli.commands._option_groups import DataOptions
from fmnist_cli.commands._options import with_options
from fmnist_cli.commands._output import Output, escape, make_table
from fmnist_cli.commands._settings import read_settings, settings_file
from fmnist_cli.errors import CheckFailed, FmnistError

if TYPE_CHECKING:
    from fmnist_cli.runner.doctor import EnvironmentCheck

COMMANDS = {
    "fetch_data": "fmnist data fetch",
    "verify_registry": "fmnist runs verify",
    "import_into_server": "fmnist runs import, into such a server",
}


@with_options()
def doctor(data: DataOptions, out: Output) -> None:
    """Look at versions, BLAS, data, registry and disk, and say how to fix what is missing.

    Prints one row for each, with the command that fixes it; changes nothing.

    Exits 3 if something needs mending.

    Examples:
      # is everything there?
      fmnist doctor
      # with another registry
      fmnist doctor --db /data/runs.db
    """
    from fmnist_cli.runner.doctor import examine

    checks = examine(out.db, data.data_dir, allow_custom_data=data.allow_custom_data)
    findings = [replace(one, mend=COMMANDS.get(one.mend, one.mend)) for one in checks]
    findings.append(_settings())
    bad = [finding for finding in findings if not finding.ok]
    out.document("fmnist.doctor/1", {"holds": not bad, "findings": findings})
    table = make_table("<", "<subject", "found", "to fix it")
    for finding in findings:
        mark = "[green]ok[/green]" if finding.ok else "[red]no[/red]"
        table.add_row(mark, finding.subject, escape(finding.found), escape(finding.mend))
    out.section("fmnist doctor", table)
    if bad:
        named = ", ".join(finding.subject for finding in bad)
        raise CheckFailed(
            f"everything must be there. Not so: {named}; the table says how to fix it."
        )


def _settings() -> EnvironmentCheck:
    from fmnist_cli.runner.doctor import EnvironmentCheck

    try:
        read_settings()
        return EnvironmentCheck("settings", True, str(settings_file() or "no file"))
    except FmnistError as error:
        return EnvironmentCheck("settings", False, str(error), "edit the file")
