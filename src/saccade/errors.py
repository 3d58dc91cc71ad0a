"""Errors and warnings of saccade; every error says in two sentences what is wrong, and what to do."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType

_SHOWN = 40  # names in a hint


class InputError(ValueError):
    """An input of the caller is wrong.

    Args:
        message: The object that expected something, what it expected, and what it received.
        hint: Advice what to do about it, as a sentence of its own.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\nhint: {self.hint}"


class MissingExtraError(ImportError):
    """A package of one of saccade's extras is not installed, or is installed and does not load."""

    def __init__(self, package: str, extra: str, cause: BaseException) -> None:
        from saccade.distribution import install_command  # here, for it loads importlib.metadata

        self.message = f"this needs {package}, which could not be imported ({type(cause).__name__}: {cause})"
        self.hint = f"install it with: {install_command(extra)}"
        if isinstance(cause, RuntimeError):  # torch and torchvision of different builds: installed, yet unusable
            self.hint = (
                "torch and torchvision do not fit together: reinstall both from the same index; see saccade doctor"
            )
        super().__init__(f"{self.message}\nhint: {self.hint}")


class SaccadeWarning(UserWarning):
    """A call works, but not as the caller probably expects."""


def require(module: str, *, extra: str) -> ModuleType:
    """Import `module`, or raise an error that names the extra to install."""
    try:
        return importlib.import_module(module)
    except (ImportError, RuntimeError) as cause:
        raise MissingExtraError(module.split(".")[0], extra, cause) from cause


def near(word: str, known: Iterable[str]) -> str:
    """Return names like `word`, as the end of a sentence, ``did you mean se, sk?``; the first names if none is near."""
    known = list(known)
    close = difflib.get_close_matches(word, known, n=3, cutoff=0.5) or [
        k for k in known if word and k.startswith(word[0])
    ]
    more = f" and {len(known) - _SHOWN:,} more" if len(known) > _SHOWN else ""
    return f"did you mean {', '.join(close)}?" if close else f"known: {', '.join(known[:_SHOWN])}{more}"
