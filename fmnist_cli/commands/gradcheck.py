"""`fmnist gradcheck`: is the gradient right?"""

from __future__ import annotations

from typing import Annotated

import typer

from fmnist_cli.commands._options import Common, DataOptions, with_options
from fmnist_cli.commands._output import Output
from fmnist_cli.engine.config import TrainConfig
from fmnist_cli.errors import CheckFailed, UsageError
