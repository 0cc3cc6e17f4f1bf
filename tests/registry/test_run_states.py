"""A run always reaches an end, and its status cannot lie."""

# ruff: noqa: PT012  (what breaks off the body of a run is raised in that body)
from __future__ import annotations

import math
import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest
from registry_rig import (
    OUTCOME,
    OUTCOME_AT_ONCE,
    UNPRIVILEGED,
    Target,
    Ticking,
    ended,
    epoch,
    raw,
    spec,
    start,
)

from fmnist_cli.errors import RegistryError, Terminated, UsageError
from fmnist_cli.registry import Outcome, Registry, schema


def test_the_row_is_there_before_the_body(db: Target, registry: Registry) -> None:
    with registry.run(spec()) as run:
        assert raw(db, "SELECT id, status, ended_at, pid FROM run") == [
            (run.id, "running", None, os.getpid())
        ]
        assert registry.get_run(run.id).status == "running"
        run.finish(OUTCOME_AT_ONCE)


def test_finish(registry: Registry) -> None:
    with registry.run(spec()) as run:
        for number in (1, 2, 3):
            run.record_epoch(epoch(number))
        run.finish(OUTCOME)
    record = registry.get_run(run.id)
    assert (record.status, record.stop_reason, record.epochs_run) == ("finished", "patience", 3)
    assert (record.best_epoch, record.updates_to_best) == (2, 4000)
    assert (record.test_accuracy, record.test_loss) == (0.84, 0.4375)
    assert record.train_seconds == 1.5
    assert record.still_improving is False
    assert record.ended_at is not None
    assert record.ended_at >= record.started_at
    assert not list((registry.folder / "runs.files" / "locks").iterdir())


def test_diverged(registry: Registry) -> None:
    with registry.run(spec(lr=100.0)) as run:
        run.record_epoch(epoch(1))
        run.finish(
            Outcome(
                stop_reason="diverged",
                train_seconds=0.1,
                test_loss=float("nan"),
                message="all dead",
            )
        )
    record = registry.get_run(run.id)
    assert (record.status, record.stop_reason, record.message) == ("diverged",) * 2 + ("all dead",)
    assert record.test_loss is None
    assert record.nonfinite == {"test_loss": "nan"}
    assert record.digest == registry.computed_digest(run.id)


@pytest.mark.parametrize(
    ("error", "status", "stop_reason", "message"),
    [
        (ZeroDivisionError("by [/zero]"), "failed", None, "ZeroDivisionError: by [/zero]"),
        (UsageError("lr must be"), "failed", None, "lr must be"),
        (SystemExit(1), "failed", None, "SystemExit: 1"),
        (KeyboardInterrupt(), "interrupted", "interrupted", "interrupted (SIGINT)"),
        (Terminated(), "interrupted", "interrupted", "terminated (SIGTERM)"),
    ],
)
def test_what_breaks_the_body_off_ends_the_run_and_goes_on(
    registry: Registry,
    error: BaseException,
    status: str,
    stop_reason: str | None,
    message: str,
) -> None:
    with pytest.raises(type(error)) as raised, registry.run(spec(), clock=Ticking(0.01)) as run:
        run.record_epoch(epoch(1))
        run.record_epoch(epoch(2))
        raise error
    assert raised.value is error
    record = registry.get_run(run.id)
    assert (record.status, record.stop_reason, record.message) == (status, stop_reason, message)
    assert record.epochs_run == 2
    assert len(registry.epochs(run.id)) == 2
    assert record.train_seconds == 1.0
    assert record.digest == registry.computed_digest(run.id)


def test_a_run_that_trains_nothing(registry: Registry) -> None:
    with registry.run(spec(command="gradcheck")) as run:
        run.finish(Outcome(stop_reason=None, train_seconds=0.0))
    record = registry.get_run(run.id)
    assert (record.status, record.stop_reason, record.epochs_run) == ("finished", None, 0)


def test_leaving_without_an_outcome_is_a_bug_and_recorded(registry: Registry) -> None:
    with pytest.raises(RuntimeError, match="without an outcome"), registry.run(spec()) as run:
        pass
    assert registry.get_run(run.id).status == "failed"


def test_nothing_is_recorded_after_the_end(registry: Registry) -> None:
    with registry.run(spec()) as run:
        run.finish(OUTCOME_AT_ONCE)
        for record in (
            lambda: run.record_epoch(epoch(1)),
            lambda: run.record_check("gradient", "W1", {}, True),
            lambda: run.finish(OUTCOME_AT_ONCE),
        ):
            with pytest.raises(RuntimeError, match="has ended"):
                record()
    assert registry.epochs(run.id) == ()


def test_an_error_after_the_end_leaves_the_run_finished(registry: Registry) -> None:
    with pytest.raises(BrokenPipeError), registry.run(spec()) as run:
        run.finish(OUTCOME_AT_ONCE)
        raise BrokenPipeError
    assert registry.get_run(run.id).status == "finished"


def test_short_epochs_share_a_transaction(db: Target, registry: Registry) -> None:
    def committed() -> int:
        return int(raw(db, "SELECT count(*) FROM epoch")[0][0])

    seconds = 0.0
    seen = []
    with registry.run(spec(), clock=lambda: seconds) as run:
        for number in range(1, 8):
            seconds += 0.125
            run.record_epoch(epoch(number))
            seen.append(committed())
        run.finish(OUTCOME)
    assert seen == [0, 2, 2, 4, 4, 6, 6]
    assert committed() == 7


def test_long_epochs_are_committed_at_once(db: Target, registry: Registry) -> None:
    with registry.run(spec(), clock=Ticking(0.25)) as run:
        for number in (1, 2, 3):
            run.record_epoch(epoch(number))
            assert raw(db, "SELECT max(epoch) FROM epoch") == [(number,)]
        run.finish(OUTCOME)


class InterruptedAsItIsEmptied(list[object]):
    def clear(self) -> None:
        raise KeyboardInterrupt


def test_dynamics_are_committed_with_their_epoch(db: Target, registry: Registry) -> None:
    with registry.run(spec(), clock=Ticking(1.0)) as run:
        run.record_dynamics(1, {"gradient_norm/W1": 0.5, "dead_share": math.inf})
        assert raw(db, "SELECT count(*) FROM dynamics") == [(0,)]
        run.record_epoch(epoch(1))
        assert raw(db, "SELECT count(*) FROM dynamics") == [(2,)]
        run.record_dynamics(2, {"gradient_norm/W1": 0.25})
        run.finish(OUTCOME_AT_ONCE)
    assert registry.dynamics(run.id) == {
        "dead_share": [(1, None)],
        "gradient_norm/W1": [(1, 0.5), (2, 0.25)],
    }
    assert raw(db, "SELECT nonfinite FROM dynamics WHERE value IS NULL") == [('{"value":"inf"}',)]


def test_an_epoch_that_was_committed_as_the_interrupt_came_is_not_doubled(
    registry: Registry,
) -> None:
    with pytest.raises(KeyboardInterrupt), registry.run(spec(), clock=Ticking(1)) as run:
        run._pending = InterruptedAsItIsEmptied()  # type: ignore[assignment]
        run.record_epoch(epoch(1))
    assert [e.epoch for e in registry.epochs(run.id)] == [1]
    record = registry.get_run(run.id)
    assert (record.status, record.epochs_run) == ("interrupted", 1)
    assert record.digest == registry.computed_digest(run.id)


TRAINS_FOR_EVER = """
with Registry.open(argv[0]) as registry, registry.run(spec(), clock=Ticking(1)) as run:
    number = 0
    while True:
        number += 1
        run.record_epoch(epoch(number))
        print(number, flush=True)
        if number == 5:
            sys.stdin.readline()  # outside any transaction
"""


def test_killed_is_lost_at_once_and_keeps_what_was_acknowledged(
    db: Target, registry: Registry
) -> None:
    process = start(TRAINS_FOR_EVER, db)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        while int(process.stdout.readline()) < 5:
            pass
        assert registry.get_run("latest").status == "running"
        os.kill(process.pid, signal.SIGSTOP)
        assert registry.get_run("latest").status == "running"
        os.kill(process.pid, signal.SIGCONT)
        process.stdin.write("\n")
        process.stdin.flush()
        while int(process.stdout.readline()) < 10:
            pass
    finally:
        process.kill()
    _, out, _ = ended(process)
    acknowledged = max([10, *map(int, out.split())])
    record = registry.get_run("latest")
    assert record.status == "lost"
    numbers = [e.epoch for e in registry.epochs(record.id)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= acknowledged
    assert record.epochs_run == len(numbers)
    assert [run.id for run in registry.list_runs(status="lost")] == [record.id]
    assert registry.list_runs(status="running") == []
    assert [finding.what for finding in registry.verify().findings] == []


def test_a_forked_child_does_not_keep_a_dead_run_alive(db: Target, registry: Registry) -> None:
    code = """
import os, time
with Registry.open(argv[0]) as registry, registry.run(spec()) as run:
    if os.fork() == 0:
        sys.stdout.close(), sys.stderr.close()
        os.close(1), os.close(2)
        time.sleep(60)
    print(os.getpid(), flush=True)
    os.kill(os.getpid(), 9)
"""
    process = start(code, db)
    ended(process)
    children = [
        int(path.name)
        for path in Path("/proc").glob("[0-9]*")
        if (path / "cmdline").exists() and str(db).encode() in (path / "cmdline").read_bytes()
    ]
    try:
        assert len(children) == 1
        assert registry.get_run("latest").status == "lost"
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)


@pytest.mark.sqlite
def test_another_machines_run_is_not_judged(
    db: Target, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fmnist_cli.host.boot_id", lambda: "this boot")
    with registry.run(spec()) as run:
        run.finish(OUTCOME_AT_ONCE)

    def status(host: str, boot: str) -> str:
        raw(
            db,
            "UPDATE run SET status = 'running', ended_at = NULL,"
            f" host = '{host}', boot_id = {boot}",
        )
        return registry.get_run(run.id).status

    here = os.uname().nodename
    assert status("elsewhere", "'that boot'") == "running"
    assert status("elsewhere", "NULL") == "running"
    assert status("a container here", "'this boot'") == "lost"
    assert status(here, "'an earlier boot'") == "lost"
    monkeypatch.setattr("fmnist_cli.host.boot_id", lambda: None)
    assert status("elsewhere", "NULL") == "running"
    assert status(here, "NULL") == "lost"


def test_a_run_that_ends_while_it_is_judged_is_not_lost(
    db: Target, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    with registry.run(spec()) as run:

        def ends_now(_: Path) -> bool:
            run.finish(OUTCOME_AT_ONCE)
            return False

        monkeypatch.setattr("fmnist_cli.registry.liveness.is_held", ends_now)
        assert registry.get_run(run.id).status == "finished"


def test_listing_ended_runs_touches_no_lock(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    with registry.run(spec()) as run:
        run.finish(OUTCOME_AT_ONCE)
    monkeypatch.setattr("fmnist_cli.registry.liveness.is_held", lambda _: pytest.fail("touched"))
    assert len(registry.list_runs()) == 1


@pytest.mark.sqlite
def test_a_failing_end_does_not_hide_what_broke_the_body_off(
    db: Target, registry: Registry
) -> None:
    with pytest.raises(KeyboardInterrupt), registry.run(spec()):
        db.unlink()
        raise KeyboardInterrupt


@pytest.mark.sqlite
def test_a_transaction_cut_by_kill_is_rolled_back_by_the_next_reader(
    db: Target, registry: Registry
) -> None:
    with registry.run(spec(), clock=Ticking(1)) as run:
        run.record_epoch(epoch(1))
        run.finish(OUTCOME_AT_ONCE)
    code = """
import os, sqlite3
connection = sqlite3.connect(argv[0], isolation_level=None)
connection.execute("PRAGMA cache_size = 1")  # pages reach the file before the commit
connection.execute("BEGIN IMMEDIATE")
connection.execute("DELETE FROM epoch")
connection.execute("UPDATE run SET message = ?", ("x" * 100_000,))
connection.execute("UPDATE run SET name = ?", ("y" * 100_000,))
os.kill(os.getpid(), 9)
"""
    before = db.read_bytes()
    ended(start(code, db))
    assert db.with_name("runs.db-journal").stat().st_size > 0
    assert db.read_bytes() != before
    with tempfile.TemporaryDirectory() as name:  # pytest's own are closed to other users
        copy = Path(name) / "runs.db"
        Path(name).chmod(0o755)
        for suffix in ("", "-journal"):
            shutil.copy(f"{db}{suffix}", f"{copy}{suffix}")
            Path(f"{copy}{suffix}").chmod(0o444)
        _, out, _ = ended(start(UNPRIVILEGED, copy, "r"))
        assert f"Unavailable: {copy} holds what a killed process left half written" in out
    with Registry.open(db, readonly=True) as reader:
        assert [e.epoch for e in reader.epochs(run.id)] == [1]
        assert reader.get_run(run.id).digest == reader.computed_digest(run.id)
    assert not db.with_name("runs.db-journal").exists()


def test_an_interrupt_after_the_end_was_committed_does_not_replace_it(registry: Registry) -> None:
    with pytest.raises(KeyboardInterrupt), registry.run(spec()) as run:
        run.finish(OUTCOME_AT_ONCE)
        run._ended = False  # the interrupt came just before this was set
        raise KeyboardInterrupt
    record = registry.get_run(run.id)
    assert record.status == "finished"
    assert record.digest == registry.computed_digest(run.id)


@pytest.mark.sqlite
def test_a_registry_that_vanishes_within_a_transaction(db: Target, registry: Registry) -> None:
    with (
        pytest.raises(RegistryError, match=r"runs\.db was moved or removed while it was in use"),
        registry.database.write() as connection,
    ):
        db.unlink()
        connection.exec_driver_sql("INSERT INTO study VALUES (1, 'u', 'k', NULL, '[]', '{}', '')")


def test_readers_cannot_write(registry: Registry) -> None:
    with (
        pytest.raises(RegistryError, match="cannot be written"),
        registry.database.read() as connection,
    ):
        connection.exec_driver_sql("DELETE FROM run")


def test_the_database_refuses_what_cannot_be(registry: Registry, db: Target) -> None:
    with registry.run(spec()) as run:
        with pytest.raises(RegistryError, match="ck_epoch_val_accuracy"):
            run._add(schema.epoch, vars(epoch(1, val_accuracy=1.5)))
        with pytest.raises(RegistryError, match=r"(?i)foreign key"):
            run._add(schema.epoch, vars(epoch(1)) | {"run_id": 99})
        run.finish(OUTCOME_AT_ONCE)
    with pytest.raises(Exception, match="ck_run_status"):
        raw(db, "UPDATE run SET status = 'lost'")
    with pytest.raises(Exception, match="ck_run_ended_at"):
        raw(db, "UPDATE run SET status = 'running'")
