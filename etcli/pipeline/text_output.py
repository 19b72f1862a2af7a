"""Endings of the text files that commands write, checked before the work as those of images are."""

from collections.abc import Sequence
from pathlib import PurePath

from etcli.core.errors import UsageError

TABLES = (".csv", ".txt")
ANGLES = (".tlt", ".rawtlt", ".txt")
TRANSFORMS = (".xf", ".xg", ".prexf", ".prexg", ".tltxf", ".txt")


def check_text_names(
    *, table: str | None = None, angles: str | None = None, transforms: str | None = None
) -> None:
    """Check that text files have the endings of their kind, or none; raise UsageError otherwise.

    Parameters
    ----------
    table, angles, transforms : str, optional
        Names of files to be written.
    """
    _check(table, "a table", TABLES)
    _check(angles, "tilt angles", ANGLES)
    _check(transforms, "transforms", TRANSFORMS)


def _check(target: str | None, what: str, endings: Sequence[str]) -> None:
    ending = PurePath(target or "").suffix.lower()
    if ending and ending not in endings:
        raise UsageError(
            f"{target}: {what} cannot be written as {ending}; end the name in {', '.join(endings)}"
        )
