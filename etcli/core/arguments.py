"""Checks of arguments that come from Python scripts, where anything may be passed."""

import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any

from etcli.core.errors import UsageError


def check_choice(what: str, name: object, choices: Iterable[str]) -> None:
    """Check a name that chooses one of several; raise UsageError for another one.

    Parameters
    ----------
    what : str
        What the name is of, such as "kernel".
    name : str
    choices : iterable of str
        The names there are.
    """
    names = tuple(choices)
    if not isinstance(name, str) or name not in names:
        raise UsageError(f"no {what} named {name!r}; use {', '.join(names)}")


def listed(names: Sequence[str], last: str = "and") -> str:
    """Join names as in a sentence."""
    return f" {last} ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def as_ranges(numbers: Sequence[int]) -> str:
    """Return rising numbers as options take them: "1-3,7"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(f"{first}" if first == last else f"{first}-{last}" for first, last in runs)


def check_owner(method: str, owners: Sequence[str], *, shown: str) -> None:
    """Check that a method is among those that use an option; raise UsageError otherwise.

    Parameters
    ----------
    method : str
    owners : sequence of str
        The methods that use the option.
    shown : str
        Name of the option in the message.
    """
    if method not in owners:
        raise UsageError(f"{shown} is for --method {listed(owners, 'or')}, not for {method}; leave it out")


def checked_number(what: str, value: Any, *, or_else: str = "") -> float:
    """Return a number, also one of NumPy, as a float.

    Parameters
    ----------
    what : str
        Its name, for the message.
    value
    or_else : str
        What else could be given.

    Raises
    ------
    UsageError
        When it is no finite number.
    """
    try:
        number = math.nan if isinstance(value, str | bytes) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"{what} {value!r} is not a number" + f" or {or_else}" * bool(or_else))
    return number


def checked_integer(what: str, value: Any, *, or_else: str = "") -> int:
    """Return a whole number, also one of NumPy, as an int; see `checked_number`."""
    try:
        return operator.index(value)
    except TypeError:
        raise UsageError(
            f"{what} {value!r} is not a whole number" + f" or {or_else}" * bool(or_else)
        ) from None


def checked_positive(what: str, value: Any, *, or_zero: bool = False) -> float:
    """Return a positive number as a float; see `checked_number`.

    Parameters
    ----------
    what : str
        Its name, for the message.
    value
    or_zero : bool
        Whether 0 is allowed.

    Raises
    ------
    UsageError
        When it is no finite number, or negative, or 0 where that is not allowed.
    """
    number = checked_number(what, value)
    if number < 0 or (number == 0 and not or_zero):
        raise UsageError(f"{what} {value!r} must be {'0 or more' if or_zero else 'more than 0'}")
    return number
