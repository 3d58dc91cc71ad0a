"""Options of the parts of a network, read from signatures."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any


def open_options(function: Callable[..., Any]) -> Iterator[str]:
    """Return the names of the keyword-only arguments of a function that are not given yet."""
    given = function.keywords if isinstance(function, partial) else {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY and name not in given:
            yield name
