"""Two lanes: what runs where, in which order, and what becomes of an error."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from fmnist_cli.engine.numpy_mlp import threads
from fmnist_cli.engine.numpy_mlp.threads import in_pipeline, run_on_two_threads

two_cores = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="needs two cores, on Linux",
)


@pytest.fixture(params=[False, True], ids=["two lanes", "one lane"])
def single_thread(request, monkeypatch) -> bool:
    monkeypatch.setattr(threads, "_single_thread", request.param)
    return request.param


def assert_the_lanes_live_on() -> None:
    done = []
    run_on_two_threads(lambda: done.append("first"), lambda: done.append("second"))
    assert sorted(done) == ["first", "second"]


def test_an_error_in_the_second_thread_is_raised_and_the_lane_lives_on(single_thread):
    done = []
    with pytest.raises(ZeroDivisionError):
        run_on_two_threads(lambda: done.append("first"), lambda: done.append(1 / 0))
    assert done == ["first"]
    assert_the_lanes_live_on()


@two_cores
def test_one_lane_is_this_thread(single_thread):
    ran_on = []
    run_on_two_threads(*[lambda: ran_on.append(threading.get_ident())] * 2)
    assert (set(ran_on) == {threading.get_ident()}) == single_thread


@two_cores
def test_the_lanes_have_cores_of_their_own_and_the_caller_gets_its_own_back():
    before, during = os.sched_getaffinity(0), []
    run_on_two_threads(*[lambda: during.append(os.sched_getaffinity(0))] * 2)
    assert not during[0] & during[1]
    assert during[0] | during[1] == before
    with pytest.raises(ZeroDivisionError):
        run_on_two_threads(lambda: 1 / 0, lambda: None)
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 20])
@pytest.mark.parametrize("slow", ["lead", "first", "second"])
def test_the_second_thread_is_at_most_a_step_behind(single_thread, steps, slow):
    events = []

    def log(name):
        def work(t):
            if name == slow:
                time.sleep(1e-4)
            events.append((name, t))

        return work

    in_pipeline(steps, log("lead"), log("first"), log("second"))
    assert sorted(events) == [
        (name, t) for name in ("first", "lead", "second") for t in range(steps)
    ]
    at = {event: i for i, event in enumerate(events)}
    for t in range(steps):
        assert at["lead", t] < min(at["first", t], at["second", t])
        assert t < 1 or at["first", t - 1] < at["lead", t]
        assert t < 1 or at["second", t - 1] < at["second", t]
        assert t < 2 or at["second", t - 2] < at["lead", t]


@pytest.mark.parametrize("failing", ["lead", "first", "second"])
@pytest.mark.parametrize("step", [0, 1, 4, 5])
def test_an_error_ends_the_pipeline_and_is_raised(single_thread, failing, step):
    led = []

    def work(name):
        def fail(t):
            if name == "lead":
                led.append(t)
            if (name, t) == (failing, step):
                raise ZeroDivisionError

        return fail

    with pytest.raises(ZeroDivisionError):
        in_pipeline(6, work("lead"), work("first"), work("second"))
    assert max(led) <= step + 1
    assert_the_lanes_live_on()


def test_ctrl_c_ends_the_pipeline():
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            in_pipeline(
                10**6,
                lambda t: None,
                lambda t: time.sleep(1e-3),
                lambda t: os.kill(os.getpid(), signal.SIGINT) if t == 5 else None,
            )
    finally:
        signal.signal(signal.SIGINT, handler)
    assert_the_lanes_live_on()
