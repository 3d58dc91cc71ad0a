"""What a command is told beside its own options, and what it gives back to be printed."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

if TYPE_CHECKING:
    from rich.console import RenderableType

DONE, FOUND_WRONG, WRONG_INPUT = 0, 1, 2


@dataclass(frozen=True)
class Settings:
    """The options every command takes, and the command line as it was typed.

    Args:
        debug: Show the traceback of an error.
        quiet: Print the result only: no progress, no warnings.
        json: Print the result as one JSON document.
        command: The command line without these options, quoted so that a shell reads it back.
    """

    debug: bool = False
    quiet: bool = False
    json: bool = False
    command: str = "saccade"


Given = Annotated[Settings, Parameter(parse=False)]
"""The type of a command's parameter that receives the settings instead of an option."""


@dataclass(frozen=True)
class Answer:
    """What a command found.

    Args:
        data: The same for programs: what ``--json`` prints.
        text: For people: a string, printed as it is, or something rich can draw.
        code: The exit status, `DONE` or `FOUND_WRONG`.
    """

    data: Any
    text: RenderableType
    code: int = DONE

    def show(self, *, as_json: bool) -> None:
        """Print it to stdout."""
        if as_json:
            print(json.dumps(self.data, indent=2, ensure_ascii=False, allow_nan=False))
        elif isinstance(self.text, str):  # rich would read cbam[reduction=8] as markup
            print(self.text)
        else:
            from rich.console import Console

            Console(width=None if sys.stdout.isatty() else 160).print(self.text)
        sys.stdout.flush()  # a reader that has gone is noticed here, not at exit


def take_settings(tokens: Sequence[str]) -> tuple[Settings, list[str]]:
    """Take ``--debug``, ``--quiet`` and ``--json`` out of a command line, wherever before ``--`` they stand."""
    tokens = list(tokens)
    end = tokens.index("--") if "--" in tokens else len(tokens)
    chosen = {name: f"--{name}" in tokens[:end] for name in ("debug", "quiet", "json")}
    rest = [token for token in tokens[:end] if token not in ("--debug", "--quiet", "--json")] + tokens[end:]
    return Settings(**chosen, command=shlex.join(["saccade", *rest])), rest
