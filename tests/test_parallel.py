"""Work in threads: the order of the results, a bound on what is ahead, errors."""

import os
import threading

import pytest

from eqvid_tf.parallel import in_threads, made_ahead


def counted(count, made):
    for k in range(count):
        made.append(k)
        yield k


@pytest.mark.parametrize("way", [lambda items: in_threads(lambda k: k, items), made_ahead])
def test_results_come_in_order_and_few_are_ahead(way):
    made = []
    results = way(counted(1000, made))
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    assert len(made) < 5 + 100 and next(results) == 5
    results.close()
    assert len(made) < 1000
    assert list(way(iter(range(7)))) == list(range(7)) and list(way([])) == []


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core")
def test_threads_share_the_work():
    both = threading.Barrier(2, timeout=10)  # one alone would wait in vain
    assert sorted(in_threads(lambda _: both.wait(), range(2))) == [0, 1]


def test_errors_reach_the_one_who_asks():
    for way in (lambda items: in_threads(lambda k: 1 // k, items), lambda items: made_ahead(1 // k for k in items)):
        results = way([1, 0, 1])
        assert next(results) == 1
        with pytest.raises(ZeroDivisionError):
            list(results)
