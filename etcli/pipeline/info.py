"""Summary of files as plain values, for ``etcli info``."""

from collections.abc import Sequence
from typing import Any

from etcli.core.errors import DataError, without_advice
from etcli.core.lengths import Length
from etcli.io.facts import facts_of
from etcli.pipeline.inputs import read_images
from etcli.pipeline.session import Session


def info_files(
    session: Session,
    names: Sequence[str],
    *,
    tilts: str | None = None,
    diameter: Length | None = None,
    need_tilts: bool = False,
) -> list[dict[str, Any]]:
    """Summarise files; see `etcli.io.facts.facts_of`.

    Parameters
    ----------
    session : Session
    names : sequence of str
    tilts : str, optional
        File of tilt angles that replaces all other sources.
    diameter : Length, optional
        Diameter of the specimen, for Crowther's resolution.
    need_tilts : bool
        Whether a file without tilt angles is an error.

    Returns
    -------
    list of dict
        One per file.
    """
    facts = []
    for name in names:
        file = read_images(session, name, tilts=tilts)
        if need_tilts and file.tilts is None:
            raise DataError(file.misfit or file.no_tilts)
        if file.misfit:
            session.reporter.warn(f"{without_advice(file.misfit)}; ignored")
        facts.append(facts_of(file, diameter_A=diameter.angstrom(file.pixel_A) if diameter else None))
    return facts
