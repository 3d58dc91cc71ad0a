"""Work on many maps or crops, shared among as many threads as torch has."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Result = TypeVar("Result")
_WORTH = 1 << 18  # values below which a thread costs more than it saves


def shared(work: Callable[[slice], Result], count: int, values: int) -> list[Result]:
    """Return what a function gives for parts of a range, in their order.

    Args:
        work: Function of a part of the range; it must let other threads run, as NumPy and OpenCV do.
        count: Length of the range.
        values: Numbers that all of it reads or writes; for few there is one part, of everything.
    """
    threads = min(torch.get_num_threads(), count)
    if threads < 2 or values < _WORTH:
        return [work(slice(0, count))]
    edges = [count * one // threads for one in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, map(slice, edges, edges[1:])))
