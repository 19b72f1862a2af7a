"""Runs of ``etcli depthsect`` on the series of a test: its numbers, warnings, errors and table."""

import csv
import json
from pathlib import Path

import numpy as np

from tests.files import etcli, failure
from tests.focal_particle import DOSE


def words(source: Path, *options: object, defocus: bool = True, dose: float | None = DOSE) -> list[object]:
    """The command but for its last word."""
    given = ["--defocus", source.with_suffix(".defocus")] if defocus else []
    return ["depthsect", *given, *(["--dose", dose] if dose else []), *options, source]


def section(source: Path, *options: object, to: str = "o.xyz", **given: bool | float | None) -> dict:
    """Run the command, and return its numbers."""
    run = etcli(*words(source, *options, "-q", "--json", **given), source.parent / to)
    assert run.err == ""
    return json.loads(run.out)


def warned(source: Path, *options: object, to: str = "o.xyz") -> list[str]:
    """Run the command, and return its warnings."""
    run = etcli(*words(source, *options), source.parent / to)
    return [line for line in run.err.splitlines() if line.startswith("WARNING")]


def refused(
    source: Path, *options: object, to: str = "o.xyz", status: int = 1, **given: bool | float | None
) -> str:
    """Run the command, which must fail and leave nothing behind; return its error."""
    before = {path: path.read_bytes() for path in source.parent.iterdir()}
    line = failure(*words(source, *options, **given), source.parent / to, status=status)
    assert {path: path.read_bytes() for path in source.parent.iterdir()} == before
    assert line.startswith("ERROR: depthsect - ")
    return line


def read(path: Path) -> dict[str, np.ndarray]:
    """Read a table: numbers, and the flags as text."""
    with path.open() as file:
        rows = list(csv.DictReader(file))
    return {
        name: np.array([row[name] if name == "flag" else float(row[name] or "nan") for row in rows])
        for name in rows[0]
    }
