"""The seam of values, and the digest."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from registry_rig import OUTCOME, Target, epoch, raw, spec

from fmnist_cli.registry import Outcome, Registry, RunRecord
from fmnist_cli.registry.schema import epoch as epoch_table
from fmnist_cli.registry.schema import study as study_table
from fmnist_cli.registry.values import clean, to_datetime, to_row, utc_text


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.int64(7), 7),
        (np.int8(-1), -1),
        (np.float32(0.5), 0.5),
        (np.float64(0.1), 0.1),
        (np.bool_(True), True),
        (np.str_("x"), "x"),
        (np.array(3), 3),
        (np.array([[1, 2]]), [[1, 2]]),
        ({"a": (np.int64(1), None)}, {"a": [1, None]}),
        ("[/foo] \x1b é 猫", "[/foo] \x1b é 猫"),
        ("a\udc80", "a\\udc80"),
    ],
)
def test_numpy_becomes_python(value: object, expected: object) -> None:
    found = clean(value, {})
    assert found == expected
    assert type(found) is type(expected)


def test_non_finite_numbers_are_null_beside_their_kind() -> None:
    kinds: dict[str, str] = {}
    values = {"a": math.nan, "b": [1.0, -math.inf], "c": np.float32("inf"), "d": 2.0}
    assert clean(values, kinds) == {"a": None, "b": [1.0, None], "c": None, "d": 2.0}
    assert kinds == {"a": "nan", "b.1": "-inf", "c": "inf"}


def test_other_types_are_the_callers_bug() -> None:
    with pytest.raises(TypeError, match=r"Received: Path at 'path'|Received: PosixPath at 'path'"):
        clean({"path": Path()}, {})
    with pytest.raises(KeyError):
        to_row(epoch_table, {"no_such_column": 1})
    with pytest.raises(ValueError, match="finite numbers only"):
        to_row(study_table, {"config": {"lr": math.nan}})


def test_times_are_utc_text_that_sorts() -> None:
    noon = datetime(2026, 11, 24, 12, tzinfo=timezone(timedelta(hours=2)))
    assert utc_text(noon) == "2026-11-24T10:00:00.000000Z"
    assert to_datetime(utc_text(noon)) == noon
    assert to_datetime("2026-11-24T10:00:00.000000Z").tzinfo is UTC  # type: ignore[union-attr]
    assert utc_text(noon) < utc_text(noon + timedelta(microseconds=1))


def test_the_file_holds_numbers_not_blobs(db: Target, registry: Registry) -> None:
    with registry.run(spec(batch=np.int64(5), lr=np.float32(0.5), momentum=0)) as run:
        run.record_epoch(
            epoch(
                np.int64(1),
                updates=np.int64(3),
                val_loss=np.float32("nan"),
                train_loss=np.float32(0.5),
                running_loss=-math.inf,
                dead_units=np.int32(2),
            )
        )
        run.record_epoch(epoch(2))
        run.record_check("gradient", "W1", {"error": np.float64("inf")}, np.bool_(False))
        run.record_evaluation("test", 10, np.nan, 0.1, np.eye(10, dtype=np.int64))
        run.finish(OUTCOME)
    kind, real = ("typeof", "real") if isinstance(db, Path) else ("pg_typeof", "double precision")
    assert raw(
        db,
        f"SELECT CAST({kind}(batch) AS TEXT), CAST({kind}(lr) AS TEXT), lr FROM run",
    ) == [("integer", real, 0.5)]
    kinds = '{"running_loss":"-inf","val_loss":"nan"}'
    assert raw(
        db,
        "SELECT epoch, updates + 0, dead_units + 0, train_loss, val_loss, running_loss, nonfinite"
        " FROM epoch ORDER BY epoch LIMIT 1",
    ) == [(1, 3, 2, 0.5, None, None, kinds)]
    first, second = registry.epochs(run.id)
    assert first.running_loss == -math.inf
    assert first.val_loss is not None
    assert math.isnan(first.val_loss)
    assert (first.test_loss, first.dead_units) == (None, 2)  # not measured; measured
    document = first.document()
    assert document["nonfinite"] == {"running_loss": "-inf", "val_loss": "nan"}
    assert (document["running_loss"], document["val_loss"]) == (None, None)
    assert second.document() == vars(second) | {"nonfinite": {}}
    (check,) = registry.checks(run.id)
    assert (check.figures, check.held) == ({"error": None}, False)
    assert check.nonfinite == {"figures.error": "inf"}
    (evaluation,) = registry.evaluations(run.id)
    assert (evaluation.loss, evaluation.nonfinite) == (None, {"loss": "nan"})
    assert evaluation.confusion[3] == (0, 0, 0, 1, 0, 0, 0, 0, 0, 0)


def _recorded(registry: Registry) -> RunRecord:
    with registry.run(spec(momentum=0, name="first")) as run:
        run.record_check("gradient", "W1", {"error": 1e-9}, True)
        run.record_dynamics(1, {"gradient_norm/W1": np.float32(0.5), "dead_share": math.nan})
        run.record_epoch(epoch(1, test_loss=np.float32(0.1), train_loss=math.nan))
        run.record_epoch(epoch(2, test_accuracy=1))
        run.record_evaluation("test", 10, 0.5, 0.9, [[1] * 10] * 10)
        file = run.folder / "weights.npz"
        file.write_bytes(b"weights")
        run.add_artefact("weights", file)
        run.finish(OUTCOME)
    return registry.get_run(run.id)


def test_the_digest_is_that_of_what_is_stored(tmp_path: Path, registry: Registry) -> None:
    run = _recorded(registry)
    assert run.digest == registry.computed_digest(run.id)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE run SET test_accuracy = 0.8400000000000001",
        "UPDATE run SET seed = 43",
        "UPDATE run SET message = 'x'",
        "UPDATE epoch SET val_loss = val_loss + 1e-12 WHERE epoch = 2",
        "UPDATE epoch SET nonfinite = NULL",
        "DELETE FROM epoch WHERE epoch = 2",
        "UPDATE run_check SET name = 'W2'",
        "UPDATE run_check SET held = false",
        "UPDATE evaluation SET n = 11",
        "UPDATE artefact SET bytes = 8",
        "UPDATE dynamics SET value = 0.25 WHERE epoch = 1",
        "UPDATE run SET augment = 'shift'",
        "UPDATE run SET resumes = 1",
    ],
)
def test_the_digest_finds_a_changed_value(
    tmp_path: Path, db: Target, registry: Registry, change: str
) -> None:
    run = _recorded(registry)
    raw(db, change)
    assert run.digest != registry.computed_digest(run.id)


def test_the_digest_survives_labels_and_another_id(
    tmp_path: Path, db: Target, registry: Registry
) -> None:
    run = _recorded(registry)
    if isinstance(db, Path):  # a server lets no run's parts go astray
        for table, column in [("run", "id"), *((t, "run_id") for t in _PARTS)]:
            raw(db, f"UPDATE {table} SET {column} = 77")
    raw(db, "UPDATE run SET name = 'second', note = 'noted', heartbeat_at = 'x'")
    run_id = 77 if isinstance(db, Path) else run.id
    raw(db, f"INSERT INTO tag VALUES ({run_id}, 'good')")
    raw(db, "UPDATE artefact SET path = 'elsewhere.npz'")
    assert run.digest == registry.computed_digest(run_id)


_PARTS = ("epoch", "run_check", "evaluation", "artefact", "dynamics")


def test_answers_of_single_images_come_back_as_they_were(registry: Registry) -> None:
    with registry.run(spec()) as run:
        run.record_evaluation("test", 10, 0.5, 0.9, np.eye(10, dtype=np.int64), b"\x00\xfe\x80")
        run.record_evaluation("up4", 10, 0.5, 0.9, np.eye(10, dtype=np.int64))
        run.finish(Outcome(stop_reason=None, train_seconds=0.0))
    first, second = registry.evaluations(run.id)
    assert (first.answers, second.answers) == (b"\x00\xfe\x80", None)
