# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Reading and writing beside computing: order, bounds, and errors."""

import threading
import time

import pytest

from fgaseg_hf.inference.overlapped_work import overlap_reading_and_writing


def test_results_come_in_order_and_each_step_sees_the_one_before():
    def write(item, text, number):
        time.sleep(0.02 if item == 0 else 0)
        return f"{item} {text} {number}"

    written = overlap_reading_and_writing(range(7), lambda item: f"<{item}>", lambda item, text: len(text), write)
    assert list(written) == [f"{item} <{item}> 3" for item in range(7)]
    assert list(overlap_reading_and_writing([], str, lambda *_: None, lambda *_: None)) == []


def test_the_next_is_read_and_the_last_written_while_this_one_is_computed():
    next_is_read, last_is_computed = threading.Event(), threading.Event()

    def read(item):
        if item == 1:
            next_is_read.set()
        return item

    def compute(item, _):
        if item == 0:
            assert next_is_read.wait(10)
        else:
            last_is_computed.set()
        return item

    def write(item, *_):
        if item == 0:
            assert last_is_computed.wait(10)
        return item

    assert list(overlap_reading_and_writing([0, 1], read, compute, write)) == [0, 1]


def test_no_more_is_read_than_is_asked_for():
    read = []
    written = overlap_reading_and_writing(
        range(100), lambda item: read.append(item), lambda *_: None, lambda item, *_: item, ahead=2
    )
    assert next(written) == 0
    # one yielded, two being written, two waiting
    assert max(read) <= 5
    written.close()


@pytest.mark.parametrize("step", ["read", "compute"])
def test_what_came_before_an_error_is_written(step):
    def fail_at_three(item, *_):
        if item == 3:
            raise ValueError("broken")
        return item

    steps = {"read": lambda item: item, "compute": lambda item, _: item, step: fail_at_three}
    written = []
    with pytest.raises(ValueError, match="broken"):
        for item in overlap_reading_and_writing(range(6), steps["read"], steps["compute"], lambda item, *_: item):
            written.append(item)
    assert written == [0, 1, 2]


def test_an_error_of_writing_is_raised():
    def write(item, *_):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        list(overlap_reading_and_writing(range(9), lambda item: item, lambda item, _: item, write))


def test_what_is_heavy_is_worked_on_alone():
    weights = [1, 1, 9, 1, 5, 5, 1]
    under_way, most, lock = [], [], threading.Lock()

    def read(item):
        with lock:
            under_way.append(item)
            most.append(sum(weights[number] for number in under_way))
        return item

    def write(item, *_):
        time.sleep(0.005)
        with lock:
            under_way.remove(item)
        return item

    written = overlap_reading_and_writing(
        range(7), read, lambda item, _: item, write, weigh=lambda item: weights[item], max_weight=5
    )
    assert list(written) == list(range(7))
    assert max(most) == 9 and sorted(most)[-2] <= 5
