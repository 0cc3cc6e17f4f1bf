"""Fill in what the commands of ``docs/tutorial.md`` print, by giving them on the real data.

    make docs-tutorial

The page has the words and the commands; in each console block the lines below its command are
replaced, by the last of them where it says ``| tail -n N``.
"""

from __future__ import annotations

import re
import shlex
import tempfile
from pathlib import Path

from make_studies import fmnist

PAGE = Path(__file__).parent / "tutorial.md"
WIDTH = 88  # columns that a page of the site has room for
BLOCK = re.compile(r"```console\n\$ fmnist (.*?)( \| tail -n (\d+))?\n.*?```", re.DOTALL)


def main() -> None:
    page = PAGE.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:

        def filled(block: re.Match[str]) -> str:
            printed = fmnist(*shlex.split(block[1]), work=Path(folder), width=WIDTH)
            lines = [line.rstrip() for line in printed.rstrip().splitlines()]
            shown = lines[-int(block[3] or 0) :]
            return "\n".join(["```console", f"$ fmnist {block[1]}{block[2] or ''}", *shown, "```"])

        page = BLOCK.sub(filled, page)
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
