"""Summary of files as plain values, for ``etcli info``."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from etcli.core.errors import DataError, EtcliError, without_advice
from etcli.core.lengths import Length
from etcli.io.atoms import is_atoms_file, read_atoms_file
from etcli.io.atoms_facts import facts_of_atoms
from etcli.io.facts import facts_of, in_words
from etcli.io.frame_label import OURS, without_frame
from etcli.io.history import grouped
from etcli.io.spectrum_images import holds_spectra, open_spectra
from etcli.pipeline.inputs import read_images
from etcli.pipeline.session import Session
from etcli.pipeline.spectrum_facts import facts_of_spectra, spectra_in_words


def info_files(
    session: Session,
    names: Sequence[str],
    *,
    tilts: str | None = None,
    diameter: Length | None = None,
    need_tilts: bool = False,
) -> list[dict[str, Any]]:
    """Summarise files; see `facts_of`, `facts_of_atoms` and `facts_of_spectra`.

    Parameters
    ----------
    session : Session
    names : sequence of str
        Images, spectrum images or atoms.
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
        if is_atoms_file(name):
            facts.append(facts_of_atoms(name, read_atoms_file(Path(name))))
            continue
        if holds_spectra(Path(name)):
            facts.append(facts_of_spectra(session, name, tilts=tilts, need_tilts=need_tilts))
            continue
        file = read_images(session, name, tilts=tilts)
        if need_tilts and file.tilts is None:
            raise DataError(file.misfit or file.no_tilts)
        if file.misfit:
            session.reporter.warn(f"{without_advice(file.misfit)}; ignored")
        facts.append(facts_of(file, diameter_A=diameter.angstrom(file.pixel_A) if diameter else None))
    return facts


def histories(session: Session, names: Sequence[str], *, tilts: str | None = None) -> list[str]:
    """Tell how files were made: what is in them, and every step with version, command line and inputs.

    Parameters
    ----------
    session : Session
    names : sequence of str
        Images or atoms.
    tilts : str, optional
        File of tilt angles that replaces all other sources.

    Returns
    -------
    list of str
        One text of several lines per file.
    """
    texts = []
    for name in names:
        if is_atoms_file(name):
            atoms = read_atoms_file(Path(name))
            content, steps = f"{len(atoms.atoms)} atoms", atoms.history
        elif holds_spectra(Path(name)):
            content, steps = spectra_in_words(open_spectra(Path(name))), ()
        else:
            file = read_images(session, name, tilts=tilts)
            titles = grouped(file.mdoc.titles) if file.mdoc else []
            own = without_frame(file.history)
            content = in_words(file)
            known = {step.strip() for step in own}
            others = [title for title in titles if not title.startswith(OURS) and title.strip() not in known]
            steps = (*others, *own)
        texts.append("\n".join([name, f"  {content}", *map(_step_text, steps or ("no history is known",))]))
    return texts


def of_each(
    names: Sequence[str], tell: Callable[[list[str]], list[Any]]
) -> tuple[list[Any], Exception | None]:
    """Tell of every file that can be read, in the order of the names.

    Parameters
    ----------
    names : sequence of str
    tell : callable
        ``tell([name])`` is a list of what a file tells; it raises an error where it cannot be read.

    Returns
    -------
    (list, Exception or None)
        What the files tell, and the first error of those that cannot be read.
    """
    told, errors = list[Any](), list[Exception]()
    for name in names:
        try:
            told += tell([name])
        except (EtcliError, OSError) as error:
            errors.append(error)
    return told, errors[0] if errors else None


def _step_text(step: str) -> str:
    """Return a step with its details, one per line."""
    first, *details = step.split("\n")
    pairs = (line.strip().partition(": ") for line in details)
    return "\n".join([f"  {first.strip()}", *(f"      {key:<8} {value}" for key, _, value in pairs)])
