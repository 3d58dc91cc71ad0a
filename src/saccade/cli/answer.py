"""Settings that every command takes, and the answer it gives to be printed."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from saccade.errors import InputError
from saccade.files import at_home, write_json
from saccade.outputs import Outputs

if TYPE_CHECKING:
    from rich.console import RenderableType

DONE, FOUND_WRONG, WRONG_INPUT = 0, 1, 2


@dataclass(frozen=True)
class CommandSettings:
    """The options every command takes, and the command line as it was typed.

    Args:
        debug: Show the traceback of an error.
        quiet: Print the result only: no progress, no warnings.
        json: Print the result as one JSON document.
        json_file: Write that document to this file instead, and print the text.
        command: The command line without these options, quoted so that a shell reads it back.
    """

    debug: bool = False
    quiet: bool = False
    json: bool = False
    json_file: Path | None = None
    command: str = "saccade"


Given = Annotated[CommandSettings, Parameter(parse=False)]
"""The type of a command's parameter that receives the settings instead of an option."""


@dataclass(frozen=True)
class Answer:
    """Result of a command.

    Args:
        data: The same for programs: what ``--json`` prints or writes.
        text: Text for the terminal: a string, printed unchanged, or an object that rich can draw.
        code: The exit status, `DONE` or `FOUND_WRONG`.
    """

    data: Any
    text: RenderableType
    code: int = DONE

    def show(self, settings: CommandSettings) -> None:
        """Print it to stdout, or write it to the file that was named."""
        if settings.json_file is not None:
            with Outputs(settings.json_file.parent).replacing(settings.json_file) as temporary:
                write_json(temporary, self.data)
        if settings.json:
            print(json.dumps(self.data, indent=2, ensure_ascii=False, allow_nan=False))
        elif isinstance(self.text, str):  # rich would read cbam[reduction=8] as markup
            print(self.text)
        else:
            from rich.console import Console

            Console(width=None if sys.stdout.isatty() else 160).print(self.text)
        sys.stdout.flush()  # a reader that has gone is noticed here, not at exit


def take_settings(tokens: Sequence[str]) -> tuple[CommandSettings, list[str]]:
    """Take ``--debug``, ``--quiet`` and ``--json [FILE.json]`` out of a command line, as far as ``--``.

    Raises:
        InputError: FILE.json cannot be written, or is a file that saccade did not write.
    """
    tokens = list(tokens)
    end = tokens.index("--") if "--" in tokens else len(tokens)
    taken: dict[str, Any] = {}
    rest: list[str] = []
    for token, before in zip(tokens[:end], ["", *tokens[:end]], strict=False):
        if token in ("--debug", "--quiet", "--json"):
            taken[token.removeprefix("--")] = True
        elif before == "--json" and token.endswith(".json"):
            taken |= {"json": False, "json_file": _writable(Path(token))}
        else:
            rest.append(token)
    rest += tokens[end:]
    return CommandSettings(**taken, command=shlex.join(["saccade", *rest])), rest


def _writable(path: Path) -> Path:
    path = at_home(path)
    if not path.parent.is_dir():
        raise InputError(f"--json: {path} cannot be written: there is no folder {path.parent}", "name one that exists")
    Outputs(path.parent).check([path])
    return path
