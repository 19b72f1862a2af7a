"""Comparison of two data sets of the same kind: atoms, volumes or series."""

from collections.abc import Sequence
from typing import Any

from etcli.core.atomic_model import Atoms
from etcli.core.errors import UsageError
from etcli.core.lengths import Length
from etcli.core.series import ImageStack
from etcli.io.atoms import is_atoms_file
from etcli.pipeline.compare_atoms import AtomsRequest, compare_atoms
from etcli.pipeline.compare_volumes import compare_images
from etcli.pipeline.session import Session


def compare(
    a: Atoms | ImageStack,
    b: Atoms | ImageStack,
    *,
    metrics: Sequence[str] = (),
    fit_scale: bool = False,
    cutoff: Length | float | str = 0.75,
    rule: str = "one-to-one",
    align: bool = False,
    box_A: tuple[float, float, float] | None = None,
    session: Session | None = None,
) -> dict[str, Any]:
    """Compare A with the reference B.

    Parameters
    ----------
    a, b : Atoms, TiltSeries or Volume
        Two of the same kind. Volumes are laid over each other as their frames say, and compared in the part
        that both show.
    metrics : sequence of {"nrmse", "psnr", "ssim", "fsc", "labels"}
        Metrics of images; by default all that can be computed, or of labels by `segment` those of labels.
    fit_scale : bool
        Fit scale and level of the images of A to those of B first.
    cutoff : length
        Largest distance of two atoms that form a pair, in Å or with a unit.
    rule : {"one-to-one", "nearest"}
        How atoms are paired.
    align : bool
        Rotate and shift the atoms of A, or shift the volume A, onto B first; a volume of another size is
        searched for.
    box_A : (float, float, float), optional
        Full widths of a box about the centre; atoms outside are ignored.
    session : Session, optional
        Memory and reporter; `Session()` by default.

    Returns
    -------
    dict
        The numbers that ``etcli compare --json`` prints.

    Raises
    ------
    DataError
        When they cannot be compared.
    UsageError
        When they are not of the same kind, or do not fit into the memory.

    Examples
    --------
    >>> import numpy as np, etcli
    >>> truth = etcli.Volume(np.eye(8, dtype=np.float32)[np.newaxis].repeat(8, axis=0))
    >>> found = etcli.Volume(1.1 * truth.images())
    >>> round(etcli.compare(found, truth, metrics=["nrmse"])["nrmse"], 3)
    0.1
    """
    session = session or Session()
    if isinstance(a, Atoms) and isinstance(b, Atoms):
        request = AtomsRequest(Length.parse(cutoff, "A").angstrom(None), rule, align, box_A)
        atoms = compare_atoms(session, a, b, request)
        return atoms.numbers | atoms.by_species()
    if isinstance(a, Atoms) or isinstance(b, Atoms):
        raise UsageError("atoms and images cannot be compared; give two of a kind")
    images = compare_images(session, a, b, metrics=metrics, fit_scale=fit_scale, align=align)
    return images.numbers | images.parts | images.curve()


def are_atoms(a: str, b: str, metrics: Sequence[str]) -> bool:
    """Check whether both files are files of atoms.

    Raises
    ------
    UsageError
        When only one of them is, or a metric does not apply to them.
    """
    first, second = is_atoms_file(a), is_atoms_file(b)
    if first != second:
        atoms, other = (a, b) if first else (b, a)
        raise UsageError(f"{atoms} is a file of atoms and {other} is not; compare two of a kind")
    wrong = [name for name in metrics if (name == "atoms") != first]
    if wrong:
        kind = "atoms" if first else "images"
        raise UsageError(f"--metric {wrong[0]} is not for files of {kind}, such as {a}; leave it out")
    return first
