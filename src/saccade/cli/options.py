"""Commands whose options follow from a declaration, and the words of other tools on a command line."""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, TypeVar, get_args

from cyclopts import Parameter, Token

from saccade.errors import InputError
from saccade.options import Declared, Options, declared
from saccade.ranges import Range, Whole
from saccade.synonyms import hint_for, meant, plain_word

_QUOTES = "'\""
_IN_PYTHON = (
    "give example_input=, a tensor that the network takes, a tuple of its arguments, or a dict of those by name"
)

PRETRAINED = Annotated[str | None, Parameter(metavar="[PATH]")]
"""The type of ``--pretrained``, whose value may be left out."""

Command = TypeVar("Command", bound=Callable[..., Any])


def default(words: str) -> Parameter:
    """Return what makes the help show a default in words, where it is decided later."""
    return Parameter(show_default=words)


def within(limits: Range) -> Parameter:
    """Return what refuses values out of a range, for an option that only the command line has."""

    def refuse(kind: Any, value: Any) -> None:
        wanted = None if value is None else limits.expected(value)
        if wanted is not None:
            raise ValueError(f"It must be {wanted}")

    return Parameter(validator=refuse, converter=_whole if isinstance(limits, Whole) else None)


def _whole(kind: Any, tokens: Sequence[Token]) -> int:
    """Read a whole number; cyclopts alone would round 1.5 to 2 without a word."""
    try:
        return int(tokens[0].value)
    except ValueError:
        raise ValueError("It must be a whole number") from None


def takes(kind: type[Options]) -> Callable[[Command], Command]:
    """Give a command the options of a class as its signature, which is what the command line and the help follow from.

    The command itself takes the arguments by position, and every option that was given by name.
    """

    def decorate(command: Command) -> Command:
        own = inspect.signature(command)
        made = [_parameter(one) for one in declared(kind) if one.typed is not None]
        made.sort(key=lambda one: (one.kind, one.default is not inspect.Parameter.empty))
        signature = own.replace(parameters=[*made, own.parameters["settings"]])
        command.__signature__ = signature  # type: ignore[attr-defined]
        command.__annotations__ = {one.name: one.annotation for one in signature.parameters.values()}
        return command

    return decorate


def _parameter(one: Declared) -> inspect.Parameter:
    option = one.option
    parameter = Parameter(
        name=option.argument or None,
        help=option.help,
        metavar=option.metavar,
        show_default=one.words if not one.required else None,
        negative=f"--no-{one.flag.replace('_', '-')}" if option.negative else (),
        converter=_whole if isinstance(one.range, Whole) and int in (one.typed, *get_args(one.typed)) else None,
    )
    kind = inspect.Parameter.POSITIONAL_ONLY if option.argument else inspect.Parameter.KEYWORD_ONLY
    default = one.default if one.required or option.typed is ... else None
    return inspect.Parameter(
        one.flag,
        inspect.Parameter.VAR_POSITIONAL if option.several else kind,
        default=default,
        # Where pydantic is loaded, by Ray for instance, cyclopts holds defaults to their types.
        annotation=Annotated[one.typed | None if default is None else one.typed, parameter],
    )


def translated(tokens: Sequence[str], command: str, known: Iterable[str]) -> list[str]:
    """Return a command line with other tools' words replaced by ours, as far as ``--``.

    Args:
        tokens: The words after the command's name.
        command: Its name.
        known: Names of its own options, with underscores.

    Raises:
        InputError: A word of another tool that has no equal here; the hint says what to do instead.
    """
    known = set(known)
    found: list[str] = []
    for number, token in enumerate(tokens):
        if token == "--":
            return [*found, *tokens[number:]]
        flag, equals, value = token.partition("=")
        if _is_flag(flag) and plain_word(flag) not in known:
            ours = meant(flag, known)
            hint = None if ours else hint_for(flag, command)
            if hint is not None:
                raise InputError(f"saccade {command} has no option {flag}", hint)
            if ours is not None:
                flag = f"--{ours.replace('_', '-')}"
        elif equals and _stands_alone(tokens, number) and (ours := flag if flag in known else meant(flag, known)):
            option = f"--{ours.replace('_', '-')} {value}"
            raise InputError(f"saccade {command}: options begin with dashes; received {token!r}", f"write {option}")
        found.append(flag + equals + value)
    return found


def as_typed(text: str, known: Iterable[str]) -> str:
    """Return a message about arguments of :func:`saccade.insert` with the options of a command in their place.

    Args:
        text: A message that names arguments as Python has them, such as ``at='stage:-1'``.
        known: Names of the command's options, with underscores; other arguments stay as they are.
    """
    here = {*known} & {"at", "within", "every", "start", "example_input"}

    def option(found: re.Match[str]) -> str:
        before, opened, since = found.string[: found.start()].rpartition("(")
        in_a_call = bool(opened) and ")" not in since and before[-1:].isidentifier()
        if found[1] not in here or in_a_call:
            return found[0]
        flag = f"--{found[1].replace('_', '-')}"
        return f"{flag} {shlex.quote(found[2].strip(_QUOTES))}" if found[2] else flag

    if "example_input" in here:
        text = text.replace(_IN_PYTHON, "give --example-input, the shape of an image that it takes, such as 1x3x64x64")
    return re.sub(r"""(?<![\w.])(\w+)=('[^']*'|"[^"]*"|[\w:.*-]*)""", option, text)


def _stands_alone(tokens: Sequence[str], number: int) -> bool:
    """Return True if a word is not the value of the option before it."""
    return number == 0 or not _is_flag(tokens[number - 1])


def _is_flag(word: str) -> bool:
    """Return True for an option such as ``--lr`` or ``-b``, and not a number such as ``-1``."""
    return word.startswith("--") or (word.startswith("-") and word[1:2].isalpha())
