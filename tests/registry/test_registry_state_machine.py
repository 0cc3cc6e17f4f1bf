"""The registry against a model of it: whatever is done to runs, in whatever order."""

from __future__ import annotations

import math
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from registry_rig import OUTCOME_AT_ONCE, epoch, spec

from fmnist_cli.errors import RunNotFound, UsageError
from fmnist_cli.registry import Registry
from fmnist_cli.registry.run import Run


@dataclass
class Model:
    """What a run must be."""

    status: str = "running"
    losses: dict[int, float] = field(default_factory=dict)
    resumes: int = 0
    open: Run | None = None
    last: int = 0


class Machine(RuleBasedStateMachine):
    ids = Bundle("ids")
    empty: Path

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        shutil.copy(self.empty, self.folder / "runs.db")
        self.registry = Registry.open(self.folder / "runs.db")
        self.models: dict[int, Model] = {}

    def teardown(self) -> None:
        for model in self.models.values():
            if model.open is not None:
                model.open._lock.release()
        self.registry.close()
        shutil.rmtree(self.folder)

    @rule(target=ids)
    def begin(self) -> int:
        run = self.registry.run(spec()).__enter__()
        assert run.id not in self.models  # an id is never given twice
        self.models[run.id] = Model(open=run)
        (run.folder / "weights.npz").write_bytes(b"x")
        return run.id

    @rule(run_id=ids, n=st.integers(1, 3), loss=st.floats(allow_subnormal=False))
    def train(self, run_id: int, n: int, loss: float) -> None:
        model = self.models.get(run_id)
        if model is None or model.open is None:
            return
        for _ in range(n):
            model.last += 1
            model.open.record_epoch(epoch(model.last, train_loss=loss))
            model.losses[model.last] = loss
        model.open.flush()

    @rule(run_id=ids, how=st.sampled_from(["finish", "interrupt", "fail", "kill"]))
    def end(self, run_id: int, how: str) -> None:
        model = self.models.get(run_id)
        if model is None or model.open is None:
            return
        run, model.open = model.open, None
        if how == "finish":
            run.finish(OUTCOME_AT_ONCE)
            run.__exit__(None, None, None)
            model.status = "finished"
            model.losses = {n: v for n, v in model.losses.items() if n <= model.last}
        elif how == "kill":
            run._lock.release()
            model.status = "lost"
        else:
            error: BaseException = KeyboardInterrupt() if how == "interrupt" else ValueError("x")
            run.__exit__(type(error), error, None)
            model.status = "interrupted" if how == "interrupt" else "failed"

    @rule(run_id=ids, back=st.integers(0, 3))
    def resume(self, run_id: int, back: int) -> None:
        model = self.models.get(run_id)
        if model is None:
            with pytest.raises(RunNotFound):
                self.registry.resumable(run_id)
            return
        if model.status in ("running", "finished"):
            with pytest.raises(UsageError):
                self.registry.resumable(run_id)
            return
        run = self.registry.resume(self.registry.resumable(run_id))
        run.__enter__()
        model.last = max(0, len(model.losses) - back)
        run.rewind_to([epoch(n, train_loss=model.losses[n]) for n in range(1, model.last + 1)])
        model.open, model.status = run, "running"
        model.resumes += 1

    @rule(run_id=consumes(ids))
    def delete(self, run_id: int) -> None:
        model = self.models.get(run_id)
        if model is None:
            return
        run = self.registry.get_run(run_id)
        if model.status == "running":
            with pytest.raises(UsageError):
                self.registry.delete([run])
            return
        self.registry.delete([run])
        del self.models[run_id]
        assert not self.registry.run_folder(run).exists()

    @rule()
    def collect(self) -> None:
        self.registry.collect(keep_days=0)

    @precondition(lambda self: self.models)
    @invariant()
    def is_as_the_model_says(self) -> None:
        found: dict[int, Any] = {run.id: run for run in self.registry.list_runs()}
        assert found.keys() == self.models.keys()
        for run_id, model in self.models.items():
            run = found[run_id]
            assert (run.status, run.resumes) == (model.status, model.resumes)
            epochs = self.registry.epochs(run_id)
            assert [e.epoch for e in epochs] == list(range(1, len(model.losses) + 1))
            for e in epochs:
                loss = model.losses[e.epoch]
                assert e.train_loss == loss or (math.isnan(e.train_loss) and math.isnan(loss))
            if model.status in ("finished", "failed", "interrupted"):
                assert run.digest == self.registry.computed_digest(run_id)
                assert run.epochs_run == len(epochs)
            assert (self.registry.run_folder(run) / "weights.npz").exists()


def test_the_registry_is_what_the_model_says(made: Path) -> None:
    Machine.empty = made
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=12,
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
