"""Which cases of a test belong to the everyday suite."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def everyday(chosen: Collection[Any], cases: Iterable[Any]) -> list[Any]:
    """Return all `cases` for ``pytest.mark.parametrize``, those that are not `chosen` marked ``full``.

    A tuple is a case of several arguments.
    """
    found = list(cases)
    unknown = [case for case in chosen if case not in found]
    if unknown:
        raise LookupError(f"no such cases: {unknown}")
    return [case if case in chosen else _full(case) for case in found]


def _full(case: Any) -> Any:
    return pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.full)
