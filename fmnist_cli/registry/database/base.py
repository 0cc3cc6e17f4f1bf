"""One registry's database: transactions on it, and its errors turned into ours."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from fmnist_cli.errors import RegistryError
from fmnist_cli.host import signals_deferred

BUSY_SECONDS = 30.0


class Database(ABC):
    """One registry's database.

    Attributes
    ----------
    display_name : str
        As the user named it, without a password, for messages.
    target : str
        What opens it in another process.
    identity : str
        The same for everyone who has it open, without a password.
    files : Path
        The folder for what its runs save; their paths are relative to the folder above it.
    is_shared : bool
        Whether several machines may record runs in it: then no lock of this one tells which of
        them live, and each run keeps a heartbeat.
    warning : str or None
        What the user must know of before relying on it.
    """

    display_name: str
    target: str
    identity: str
    files: Path
    is_shared: bool
    warning: str | None = None
    _reader: Engine
    _writer: Engine

    @property
    def folder(self) -> Path:
        """What the paths of artefacts are relative to."""
        return self.files.parent

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A read-only transaction: one consistent state of the registry."""
        with self._translating_errors(), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def write(self, *, interruptible: bool = False) -> Iterator[Connection]:
        """A transaction that may change rows; keep it short.

        Parameters
        ----------
        interruptible : bool
            Whether a signal is heard in it, and not after it. What a handler raises as a
            transaction begins or ends may leave it open, so that this process can write nothing
            more: only for one after which an interrupted process has nothing to record.
        """
        signals = nullcontext() if interruptible else signals_deferred()
        with signals, self._translating_errors(), self._writer.begin() as connection:
            yield connection

    @abstractmethod
    def migrate(self) -> AbstractContextManager[Connection]:
        """A transaction that changes the schema, one at a time."""

    @abstractmethod
    def check_usable(self, *, readonly: bool) -> None:
        """Refuse by name what cannot be a registry; a writer makes what is absent."""

    @abstractmethod
    def back_up(self, connection: Connection, revision: str) -> None:
        """Keep what is there, which has that revision, before its schema is changed."""

    @abstractmethod
    def clock(self, connection: Connection) -> datetime:
        """The time that all who record in it agree on, aware, UTC."""

    @abstractmethod
    def snapshot(self, folder: Path) -> Database:
        """What ``read`` sees of it in one state as long as wanted; ``folder`` may take a copy."""

    @abstractmethod
    def normalize_settings(self) -> None:
        """Bring a registry's settings into the state that writers expect."""

    def integrity_errors(self, connection: Connection) -> Iterator[str]:
        """What the database itself finds wrong with its structure."""
        yield from ()

    @abstractmethod
    def dispose(self) -> None:
        """Let go of whatever the connections hold."""

    @staticmethod
    @abstractmethod
    def translate_error(name: str, error: BaseException | None) -> RegistryError:
        """What a driver's error means for the registry of that name, and what to do."""

    @contextmanager
    def _translating_errors(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            raise self.translate_error(self.display_name, cause) from error
