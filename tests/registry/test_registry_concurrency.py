"""Many processes, one registry: nothing is lost, and no lock error is seen."""

from __future__ import annotations

import sqlite3

import pytest
from registry_rig import Target, ended, raw, start

from fmnist_cli.registry import Registry

WRITERS_AND_A_READER = """
from time import sleep
from fmnist_cli.registry import Selection, open_reader
target, writers, epochs = argv[0], int(argv[1]), int(argv[2])

def work(i):
    if i == 0:
        return read()
    with Registry.open(target) as registry:
        with registry.run(spec(seed=i), clock=Ticking(1)) as run:
            for number in range(1, epochs + 1):
                run.record_epoch(epoch(number))
            run.finish(OUTCOME)

def read():
    reads = 0
    with Registry.open(target, readonly=True) as registry:
        while len(registry.list_runs(status="finished")) < writers:
            for run in registry.list_runs():
                assert len(registry.epochs(run.id)) >= run.epochs_run
            assert not registry.list_runs(status="lost")
            with open_reader(target) as reader:  # as `fmnist runs list` does
                assert not reader.summaries(Selection(status="lost")).rows
            reads += 1
            sleep(0.02)
    print(reads)

forked(writers + 1, work)
"""


@pytest.mark.parametrize(
    ("writers", "epochs"), [(4, 20), pytest.param(12, 100, marks=pytest.mark.slow)]
)
def test_writers_and_a_reader(db: Target, registry: Registry, writers: int, epochs: int) -> None:
    code, out, err = ended(start(WRITERS_AND_A_READER, db, writers, epochs))
    assert (code, err) == (0, "")
    assert int(out) >= 1
    assert raw(db, "SELECT count(*), count(DISTINCT seed) FROM run WHERE status = 'finished'") == [
        (writers, writers)
    ]
    assert raw(
        db, "SELECT run_id, count(*), min(epoch), max(epoch) FROM epoch GROUP BY run_id ORDER BY 1"
    ) == [(run_id, epochs, 1, epochs) for run_id in range(1, writers + 1)]
    for run in registry.list_runs():
        assert run.digest == registry.computed_digest(run.id)


@pytest.mark.sqlite
def test_a_writer_holds_the_lock_from_the_start(db: Target, registry: Registry) -> None:
    """So that what it reads cannot change before it writes."""
    other = sqlite3.connect(db, timeout=0, isolation_level=None)
    with registry.database.write(), pytest.raises(sqlite3.OperationalError, match="is locked"):
        other.execute("BEGIN IMMEDIATE")
    other.execute("BEGIN IMMEDIATE")
    other.close()
