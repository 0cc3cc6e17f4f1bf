"""Two lanes: what runs where, in which order, and what becomes of an error."""

from __future__ import annotations

import os
import threading

import pytest

from fmnist_cli.engine.numpy_mlp import threads
from fmnist_cli.engine.numpy_mlp.threads import in_two_lanes

two_cores = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="needs two cores, on Linux",
)


@pytest.fixture(params=[False, True], ids=["two lanes", "one lane"])
def one_lane(request, monkeypatch) -> bool:
    monkeypatch.setattr(threads, "_one_lane", request.param)
    return request.param


def assert_the_lanes_live_on() -> None:
    done = []
    in_two_lanes(lambda: done.append("first"), lambda: done.append("second"))
    assert sorted(done) == ["first", "second"]


def test_an_error_in_the_second_lane_is_raised_and_the_lane_lives_on(one_lane):
    done = []
    with pytest.raises(ZeroDivisionError):
        in_two_lanes(lambda: done.append("first"), lambda: done.append(1 / 0))
    assert done == ["first"]
    assert_the_lanes_live_on()


@two_cores
def test_one_lane_is_this_thread(one_lane):
    ran_on = []
    in_two_lanes(*[lambda: ran_on.append(threading.get_ident())] * 2)
    assert (set(ran_on) == {threading.get_ident()}) == one_lane


@two_cores
def test_the_lanes_have_cores_of_their_own_and_the_caller_gets_its_own_back():
    before, during = os.sched_getaffinity(0), []
    in_two_lanes(*[lambda: during.append(os.sched_getaffinity(0))] * 2)
    assert not during[0] & during[1]
    assert during[0] | during[1] == before
    with pytest.raises(ZeroDivisionError):
        in_two_lanes(lambda: 1 / 0, lambda: None)
    assert os.sched_getaffinity(0) == before
