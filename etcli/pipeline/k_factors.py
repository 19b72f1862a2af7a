"""Factors that turn counts of elements into atoms."""

import re
from collections.abc import Mapping
from pathlib import Path

from etcli.core.arguments import checked_positive
from etcli.core.errors import UsageError
from etcli.core.series import TiltSeries
from etcli.io.element_map import ElementMap
from etcli.io.text import read_text
from etcli.pipeline.session import Session


def read_k_factors(session: Session, text: str) -> dict[str, float]:
    """Read factors of elements: ``Ni=1.2,Co=1.1``, or a file with such pairs, one per line.

    Raises
    ------
    UsageError
        When a pair is not an element and a positive number.
    """
    where = "--k-factors"
    if "=" not in text:
        session.reads(text)
        where, text = text, read_text(Path(text))
    factors = {}
    for pair in filter(None, (line.strip() for line in re.split(r"[,\n]", text))):
        match = re.fullmatch(r"(\w+)\s*[=:\s]\s*(\S+)", pair)
        try:
            number = float(match[2]) if match else 0.0
        except ValueError:
            number = 0.0
        if match is None or not 0 < number < float("inf"):
            raise UsageError(f"{where}: {pair!r} is not an element and its factor, such as Ni=1.2")
        factors[match[1]] = number
    return factors


def k_factors_of(
    maps: Mapping[str, TiltSeries], given: Mapping[str, float] | None
) -> tuple[list[float], str]:
    """Return the atoms per count of each element, and where they come from: ``given``, ``mdoc`` or ``none``.

    Parameters
    ----------
    maps : mapping of str to TiltSeries
        By element.
    given : mapping of str to float or None
        Factors by element.

    Returns
    -------
    list of float
        Those given, else 1 over the sensitivities in the mdocs, else 1.
    str

    Raises
    ------
    UsageError
        When a factor is missing, not positive, or of an element without a map.
    """
    if given is not None:
        missing, surplus = [e for e in maps if e not in given], [e for e in given if e not in maps]
        if missing or surplus:
            problem = f"no factor of {missing[0]}" if missing else f"no map of {surplus[0]}"
            raise UsageError(f"--k-factors: {problem}; give one for each of {', '.join(maps)}")
        return [checked_positive(f"k-factor of {name}", given[name]) for name in maps], "given"
    known = [ElementMap.of(series.description).sensitivity for series in maps.values()]
    if all(sensitivity and sensitivity > 0 for sensitivity in known):
        return [1 / sensitivity for sensitivity in known if sensitivity], "mdoc"
    return [1.0] * len(maps), "none"
