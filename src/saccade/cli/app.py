"""Reads the command line, runs the command, and turns what goes wrong into two sentences and an exit status."""

from __future__ import annotations

import errno
import inspect
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

from cyclopts import App, CycloptsError, Parameter

from saccade.catalog.imports import search_here
from saccade.cli.answer import FOUND_WRONG, WRONG_INPUT, Answer, CommandSettings, take_settings
from saccade.cli.bench import bench
from saccade.cli.compare import compare, complete_pretrained
from saccade.cli.data import check, demo, import_
from saccade.cli.doctor import doctor
from saccade.cli.evaluate import evaluate
from saccade.cli.export import export
from saccade.cli.list import list_
from saccade.cli.look import look
from saccade.cli.options import as_typed, translated
from saccade.cli.plan import plan
from saccade.cli.predict import predict
from saccade.cli.report import report
from saccade.cli.streams import abandon, prepare_streams
from saccade.cli.train import train
from saccade.errors import InputError, MissingExtraError, SaccadeWarning
from saccade.files import at_home
from saccade.options import in_words
from saccade.version import __version__

_SUMMARY = """Visual attention for convolutional networks: choose it, plug it in, train it, see it.

Start with `saccade compare --quick`: the embedded demo, a few minutes, no download."""

_EPILOGUE = """Every command also takes, before or after its name:

- `--json`: print one JSON document instead of text; `--json FILE.json` writes it there and prints the text
- `--quiet`: print the result only, no progress and no warnings
- `--debug`: show the traceback of an error

Exit status: 0 done; 1 ran and found something wrong, or was interrupted; 2 wrong usage, input or file."""

app = App(
    name="saccade",
    help=_SUMMARY,
    version=__version__,
    help_format="markdown",
    help_epilogue=_EPILOGUE,
    default_parameter=Parameter(negative=(), show_default=in_words),
)
_COMMANDS: dict[str, Callable[..., Any]] = {
    function.__name__.rstrip("_"): function
    for function in (compare, train, evaluate, predict, export, look, list_, plan, bench, report, doctor)
}
for _name, _function in _COMMANDS.items():
    app.command(_function, name=_name)
_data = App(name="data", help="Look at a folder of images before it is trained on; or write one.")
_data.command(check)
_data.command(demo)
_data.command(import_, name="import")
app.command(_data)


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command line and leave with its exit status.

    Args:
        argv: The words after ``saccade``; None takes those of this process.

    Raises:
        SystemExit: Always, with the status.
    """
    prepare_streams()
    typed = sys.argv[1:] if argv is None else argv
    try:
        check_words(typed)
        settings, tokens = take_settings(typed)
    except Exception as error:
        sys.exit(_said(error))
    search_here()
    with _warnings_for_people(settings):
        status = _guarded(tokens, settings)
    try:
        sys.stdout.flush()
    except OSError:
        abandon(sys.stdout)
    sys.exit(status)


def _guarded(tokens: list[str], settings: CommandSettings) -> int:
    try:
        return _run(tokens, settings)
    except BrokenPipeError:  # the reader, such as head, has all it wants
        abandon(sys.stdout)
        return FOUND_WRONG
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return FOUND_WRONG
    except Exception as error:
        if settings.debug:
            traceback.print_exc()
        return _said(error, tokens)


def _said(error: Exception, tokens: Sequence[str] = ()) -> int:
    message, hint, status = explain(error)
    known = _options_of(tokens[0] if tokens else "")
    message, hint = as_typed(message, known), hint and as_typed(hint, known)
    print(f"error: {message}" + (f"\n\nhint: {hint}" if hint else ""), file=sys.stderr)
    return status


def _run(tokens: list[str], settings: CommandSettings) -> int:
    tokens = ours(tokens)
    command, bound, unparsed = app.parse_args(tokens, exit_on_error=False, print_error=False)
    words, options = map(_at_home, bound.args), {name: _at_home(value) for name, value in bound.kwargs.items()}
    answer = command(*words, **options, **dict.fromkeys(unparsed, settings))
    if not isinstance(answer, Answer):  # --help and --version print by themselves
        return 0
    answer.show(settings)
    return answer.code


def check_words(words: Sequence[str]) -> None:
    """Refuse an empty word, which usually is a variable of the shell that has no value.

    Raises:
        InputError: Naming the option that it was given to.
    """
    for word, before in zip(words, ["", *words], strict=False):
        if word == "--":
            return
        option = before if before.startswith("--") else "an argument"
        if not word.strip() or (word.startswith("--") and word.endswith("=")):
            option = word.removesuffix("=") if word.strip() else option
            raise InputError(f"{option} must not be empty", "give it a value, or leave it out")


def _at_home(value: Any) -> Any:
    """Return a path, or paths, with the home folder in the place of ``~``."""
    if isinstance(value, Path):
        return at_home(value)
    return type(value)(map(_at_home, value)) if type(value) in (list, tuple) else value


def ours(tokens: list[str]) -> list[str]:
    """Return a command line with other tools' words replaced by ours, and a value for each ``--pretrained``."""
    name = tokens[0] if tokens else ""
    if name not in _COMMANDS:
        return tokens
    parameters = list(inspect.signature(_COMMANDS[name]).parameters.values())
    known = _options_of(name)
    tokens = [name, *translated(tokens[1:], name, known)]
    if "pretrained" not in known:
        return tokens
    flags = {one.name for one in parameters if one.default in (True, False) or _is_switch(one.annotation)}
    several = any(one.kind is inspect.Parameter.VAR_POSITIONAL for one in parameters)
    positions = sum(one.kind is inspect.Parameter.POSITIONAL_ONLY for one in parameters)
    return complete_pretrained(tokens, flags, None if several else positions)


def _options_of(name: str) -> set[str]:
    """Return the names of a command's options, with underscores; none for a word that is not a command."""
    if name not in _COMMANDS:
        return set()
    parameters = inspect.signature(_COMMANDS[name]).parameters.values()
    return {one.name for one in parameters if one.kind is inspect.Parameter.KEYWORD_ONLY}


def _is_switch(annotation: Any) -> bool:
    return bool in (annotation, *get_args(annotation))


def explain(error: Exception) -> tuple[str, str | None, int]:
    """Return what is wrong, what to do about it, and the exit status."""
    if isinstance(error, (InputError, MissingExtraError)):
        return error.message, error.hint, WRONG_INPUT
    if isinstance(error, CycloptsError):
        message, _, suggestion = re.sub(r"\s+", " ", str(error)).partition(" Did you mean ")
        usage = " ".join(["saccade", *(error.command_chain or ()), "--help"])
        return message, f"did you mean {suggestion}" if suggestion else f"see {usage}", WRONG_INPUT
    if isinstance(error, OSError):
        name = str(error.filename)
        name = name if len(name) <= _LONGEST else f"{name[:_LONGEST]} ... ({len(name):,} characters)"
        where = f": {name}" if error.filename is not None else ""
        full = "free some space there, then repeat the command" if error.errno == errno.ENOSPC else None
        return f"{error.strerror or error}{where}", full, WRONG_INPUT
    if isinstance(error, ImportError):
        return f"a package could not be imported: {error}", "saccade doctor says what to install", WRONG_INPUT
    if isinstance(error, (MemoryError, *_out_of_memory())) or "can't allocate memory" in str(error):
        return f"out of memory: {str(error).splitlines()[0] if str(error) else 'none is left'}", _SMALLER, WRONG_INPUT
    return (
        f"{type(error).__name__}: {error}",
        "this was not foreseen, so it is probably a fault of saccade: --debug shows where it happened",
        FOUND_WRONG,
    )


def _out_of_memory() -> tuple[type[Exception], ...]:
    """The error of a GPU without memory; torch is not loaded to learn it."""
    torch = sys.modules.get("torch")
    return (torch.OutOfMemoryError,) if torch is not None else ()


_LONGEST = 255  # characters of a name in a message
_SMALLER = "choose a smaller --batch or --size; train divides a step with --accumulate"


@contextmanager
def _warnings_for_people(settings: CommandSettings) -> Iterator[None]:
    """Say saccade's own warnings in a line on stderr, and those of other packages with ``--debug`` only."""
    with warnings.catch_warnings():
        if not settings.debug:
            warnings.simplefilter("ignore")
            warnings.filterwarnings("ignore" if settings.quiet else "default", category=SaccadeWarning)
            warnings.showwarning = _show_warning
        yield


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    print(f"warning: {message}", file=sys.stderr)
