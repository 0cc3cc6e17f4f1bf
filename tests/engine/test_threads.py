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
    """Whether in one lane; in two, however busy the machine is."""
    monkeypatch.setattr(threads, "_single_thread", request.param)
    monkeypatch.setattr(threads.second_lane, "until", 0.0)
    monkeypatch.setattr(threads.second_lane, "FEWEST_CORES", 0.0)
    return request.param


class Clocks:
    """Wall and processor time that a test lets pass."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall = self.cpu = 0.0
        monkeypatch.setattr(threads, "perf_counter", lambda: self.wall)
        monkeypatch.setattr(threads, "process_time", lambda: self.cpu)
        monkeypatch.setattr(threads, "_single_thread", False)
        monkeypatch.setattr(threads, "allowed_cores", lambda: [0, 1])

    def work(self, lane: threads.SecondLane, seconds: float, *, cores: float) -> None:
        with lane.watched():
            self.wall += seconds
            self.cpu += seconds * cores


def test_a_taken_core_is_left_and_tried_again_after_longer_and_longer_pauses(monkeypatch):
    clocks, lane = Clocks(monkeypatch), threads.SecondLane()
    for _ in range(10):
        clocks.work(lane, 0.01, cores=1.9)
        assert lane.pays()
    pauses = []
    for _ in range(6):
        clocks.work(lane, 0.03, cores=1.0)
        assert not lane.pays()
        began = clocks.wall
        while not lane.pays():
            clocks.wall += 0.01
        pauses.append(round(clocks.wall - began, 1))
    assert pauses == [0.3, 0.5, 1.0, 2.0, 2.0, 2.0]
    clocks.work(lane, 0.03, cores=1.9)  # the core is free again
    assert lane.pays()
    clocks.work(lane, 0.03, cores=1.0)
    clocks.wall += 0.26
    assert lane.pays()


def test_short_work_is_judged_together(monkeypatch):
    clocks, lane = Clocks(monkeypatch), threads.SecondLane()
    clocks.work(lane, 0.005, cores=1.0)  # a hiccup
    clocks.work(lane, 0.020, cores=1.9)
    assert lane.pays()


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
def test_the_lanes_have_cores_of_their_own_and_the_caller_gets_its_own_back(monkeypatch):
    monkeypatch.setattr(threads, "second_lane", threads.SecondLane())  # no core is taken yet
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


@two_cores
def test_a_pipeline_goes_on_in_one_lane_while_the_core_is_taken(monkeypatch):
    clocks = Clocks(monkeypatch)
    monkeypatch.setattr(threads, "second_lane", threads.SecondLane())
    done, done_here, here = [], [], threading.get_ident()

    def first(t):
        clocks.wall += 0.011
        clocks.cpu += 0.011 * (1.0 if 10 <= t < 30 else 1.9)

    def second(t):
        done.append(t)
        if threading.get_ident() == here:
            done_here.append(t)

    in_pipeline(60, lambda t: None, first, second)
    assert done == list(range(60))
    assert done_here == list(range(12, 35))  # a window is two steps, the first pause 23


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
