"""Running the contract: every failure in one sentence, all of them together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from saccade.errors import InputError, near
from saccade.testing.properties import PROPERTIES, Broken, applies
from saccade.testing.subject import Subject


class ContractError(AssertionError):
    """A mechanism breaks the contract.

    Args:
        subject: Name of the mechanism.
        failures: Property to the sentence that says what was expected and what was seen.
        checked: Number of properties that were checked.

    Attributes:
        failures: Failures as given.
    """

    def __init__(self, subject: str, failures: Mapping[str, str], checked: int) -> None:
        lines = [f"  {name}: {sentence}" for name, sentence in failures.items()]
        count = f"{len(failures)} of {checked} {'property' if checked == 1 else 'properties'}"
        super().__init__("\n".join([f"{subject} breaks {count} of the contract of mechanisms:", *lines]))
        self.failures = dict(failures)


@dataclass(frozen=True)
class Check:
    """One property of one mechanism; calling it checks it.

    Args:
        subject: The mechanism.
        name: A property, see :mod:`saccade.testing`.
    """

    subject: Subject
    name: str

    def __call__(self) -> None:
        """Check it.

        Raises:
            ContractError: It does not hold.
        """
        sentence = self.failure()
        if sentence is not None:
            raise ContractError(str(self.subject), {self.name: sentence}, 1)

    def __str__(self) -> str:
        return f"{self.subject}-{self.name}"

    def failure(self) -> str | None:
        """Return the sentence that says what is wrong, or None."""
        try:
            PROPERTIES[self.name](self.subject)
        except Broken as broken:
            return str(broken)
        except Exception as cause:  # whatever the mechanism raises is the finding
            return f"raised {type(cause).__name__}: {_first_line(cause)}"
        return None


def checks_of(mechanism: Any, *, only: Iterable[str] = (), skip: Iterable[str] = (), **how: Any) -> tuple[Check, ...]:
    """Return the checks that apply to a mechanism, one for each property.

    Args:
        mechanism: See :func:`check_mechanism`, as for all that follow.
        only: Properties to check; by default all.
        skip: Properties to leave out.
        how: Options, channels, dims, sizes, idle parameters and backend.

    Raises:
        InputError: An unknown property, mechanism or option.
    """
    only, skip = tuple(only), tuple(skip)
    for name in (*only, *skip):
        if name not in PROPERTIES:
            raise InputError(f"unknown property {name!r} of mechanisms", near(name, PROPERTIES))
    subject = mechanism if isinstance(mechanism, Subject) else Subject.of(mechanism, **how)
    chosen = [name for name in PROPERTIES if name in (only or PROPERTIES) and name not in skip]
    module = subject.fresh()
    return tuple(Check(subject, name) for name in chosen if applies(name, module))


def check_mechanism(
    mechanism: Any,
    *,
    options: Mapping[str, Any] | None = None,
    channels: int = 32,
    dims: int | None = None,
    size: tuple[int, ...] | None = None,
    other_size: tuple[int, ...] | None = None,
    idle: tuple[str, ...] = (),
    backend: str = "aot_eager",
    only: Iterable[str] = (),
    skip: Iterable[str] = (),
) -> None:
    """Check that a mechanism keeps to the contract of saccade's own, see :mod:`saccade.testing` for its properties.

    It is made several times, from the same seed, and run on small maps on the CPU: some seconds, most of them for
    `torch.compile` and `torch.export`. It need not be a :class:`~saccade.mechanisms.base.Mechanism`; what concerns
    these only is left out for other modules.

    Args:
        mechanism: A class, a function from the number of channels to a module, a name of the catalog with options in
            brackets, or an import path.
        options: Options of the mechanism.
        channels: C of the maps it is checked on.
        dims: Number of map axes: 1, 2 or 3; by default its option of that name, else 2.
        size: Sides of the maps; by default 6 x 7.
        other_size: Sides of the maps that show whether any size will do; by default 11 x 4.
        idle: Ends of the names of parameters that provably do nothing, such as the bias of what a softmax reads.
        backend: Backend of `torch.compile`.
        only: Properties to check; by default all that apply.
        skip: Properties to leave out.

    Raises:
        ContractError: One or more properties do not hold: one sentence for each. Where the shape is not kept, nothing
            else is checked.
        InputError: An unknown property, mechanism or option, or a module in place of what makes one.

    Example:
        >>> from saccade.testing import check_mechanism
        >>> check_mechanism("eca", channels=16, skip=("compiles", "exports"))
    """
    checks = checks_of(
        mechanism, only=only, skip=skip, options=options, channels=channels, dims=dims, size=size,
        other_size=other_size, idle=idle, backend=backend,
    )  # fmt: skip
    failures: dict[str, str] = {}
    checked = 0
    for check in checks:
        checked += 1
        sentence = check.failure()
        if sentence is not None:
            failures[check.name] = sentence
        if "shape" in failures:
            break
    if failures:
        raise ContractError(str(checks[0].subject), failures, checked)


def parametrize_mechanism(*mechanisms: Any, **how: Any) -> Callable[[Any], Any]:
    """Run a test once for every property of every mechanism; its argument is called `check`.

    Args:
        mechanisms: Classes, functions, names or import paths, as :func:`check_mechanism` takes them.
        how: Further arguments of :func:`check_mechanism`, for all of them.

    Example:
        >>> from saccade.testing import parametrize_mechanism
        >>> @parametrize_mechanism("se", "eca", channels=16, only=("shape", "dtypes"))
        ... def test_contract(check):
        ...     check()
        >>> [str(check) for check in test_contract.pytestmark[0].args[1]]
        ['se-shape', 'se-dtypes', 'eca-shape', 'eca-dtypes']
    """
    import pytest

    checks = [check for mechanism in mechanisms for check in checks_of(mechanism, **how)]
    return pytest.mark.parametrize("check", checks, ids=str)


def _first_line(cause: Exception) -> str:
    return (str(cause).strip().splitlines() or [""])[0][:300]
