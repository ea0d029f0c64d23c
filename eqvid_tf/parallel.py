"""All processor cores for one clip: a function of many items in threads, items that are made ahead, and their heaps.

Threads serve here, as numpy, OpenCV, Pillow and FFmpeg let others run while they work.
"""

from __future__ import annotations

import collections
import ctypes
import os
import platform
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
M_ARENA_MAX, HEAPS = -8, 2  # glibc's mallopt: heaps that all threads share
AHEAD = 2  # items that are made before they are asked for: bounds the memory


def in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """`map` in as many threads as there are cores: the results in the order of the items, few of them ahead.

    The items are made in the thread that asks for the results, one at a time.
    """
    cores = len(os.sched_getaffinity(0))
    ahead: collections.deque[Future[Result]] = collections.deque()
    pool = ThreadPoolExecutor(cores)
    try:
        for item in items:
            ahead.append(pool.submit(function, item))
            if len(ahead) > cores:  # one waits, so that no thread does
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


class LastOfThread(threading.local):
    """The last result of a function of an item, in each thread: steps of the work on one item share it."""

    item: object = None
    result: Any = None

    def of(self, item: Item, function: Callable[[Item], Result]) -> Result:
        """The result of an item, which is not made again where it is the very one of the last call."""
        if self.item is not item:
            self.item, self.result = None, function(item)
            self.item = item
        return self.result


def made_ahead(items: Iterable[Item]) -> Iterator[Item]:
    """The items as they are, made in a thread of their own, a few ahead, while the last one is worked on."""
    source, end = iter(items), object()
    ahead: collections.deque[Future] = collections.deque()
    pool = ThreadPoolExecutor(1)
    try:
        ahead.extend(pool.submit(next, source, end) for _ in range(AHEAD))
        while (item := ahead.popleft().result()) is not end:
            ahead.append(pool.submit(next, source, end))
            yield item
    finally:
        pool.shutdown(cancel_futures=True)


def share_heaps() -> None:
    """Have all threads take memory from the same few heaps, from the start of a process on.

    Why: glibc by itself gives each thread its own, in which what it no longer uses stays, for it alone.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, HEAPS)


def trim_heaps() -> None:
    """Give back to the system what the heaps hold and nothing uses any more, as another stage of the work begins."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
