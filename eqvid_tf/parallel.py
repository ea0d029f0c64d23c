"""A function of many items on all processor cores."""

from __future__ import annotations

import collections
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """`map` in as many threads as there are cores: the results in the order of the items, few of them ahead.

    Threads serve here, as numpy, OpenCV, Pillow and FFmpeg let others run while they work. The items are made in the
    thread that asks for the results, one at a time, so that a clip's frames are read while others are worked on.
    """
    cores = len(os.sched_getaffinity(0))
    if cores == 1:
        yield from map(function, items)
        return
    ahead: collections.deque[Future[Result]] = collections.deque()
    pool = ThreadPoolExecutor(cores)
    try:
        for item in items:
            ahead.append(pool.submit(function, item))
            if len(ahead) > cores:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
