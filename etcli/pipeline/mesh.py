"""Surfaces of volumes and of labels, in memory or from file to file."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.arguments import check_choice, checked_integer, checked_number
from etcli.core.errors import ConvergenceError, UsageError
from etcli.core.geometry import centre
from etcli.core.lengths import UNITS
from etcli.core.series import Volume
from etcli.core.surfaces.mesh import Mesh, Size, joined
from etcli.core.surfaces.reduction import reduced
from etcli.core.surfaces.smoothing import smoothed, with_volumes
from etcli.io.meshes import mesh_format, write_mesh
from etcli.pipeline.inputs import read_volume_only
from etcli.pipeline.mesh_surfaces import batches, found_surfaces
from etcli.pipeline.session import Session

MESH_UNITS = ("nm", "A", "um", "px")
STEPPED = 8
"""By how many percent the area of labels is too large where it is not smoothed."""


@dataclass(frozen=True)
class MeshRequest:
    """Options of a surface, named as those of ``etcli mesh``.

    Parameters
    ----------
    level : float or None
        Value of the surface; by default that of the rule ``edge`` of ``segment``. Given for labels, it makes
        them a volume.
    smooth : int
        Number of smoothing steps.
    reduce : float or None
        Part of the faces to keep.
    unit : str or None
        Unit of the vertices; by default nm, or px where the pixel size is unknown.
    open : bool
        Whether the surface ends at the border of the volume.
    """

    level: float | None = None
    smooth: int = 10
    reduce: float | None = None
    unit: str | None = None
    open: bool = False

    def check(self) -> None:
        """Raise UsageError for values that are not possible."""
        if self.level is not None:
            checked_number("level", self.level)
        if checked_integer("smooth", self.smooth) < 0:
            raise UsageError(f"smooth {self.smooth} must be 0 or more")
        if self.reduce is not None and not 0 < checked_number("reduce", self.reduce) <= 1:
            raise UsageError(
                f"reduce {self.reduce:g} is the part of the faces to keep, above 0 and at most 1"
            )
        if self.unit is not None:
            check_choice("unit", self.unit, MESH_UNITS)


def mesh(
    volume: Volume | NDArray[Any],
    labels: Volume | NDArray[Any] | None = None,
    *,
    level: float | None = None,
    smooth: int = 10,
    reduce: float | None = None,
    unit: str | None = None,
    open: bool = False,
    session: Session | None = None,
) -> Mesh:
    """Find the surface of a volume at one value, or those of labelled bodies.

    Parameters
    ----------
    volume : Volume, or ndarray of shape (nz, ny, nx)
        Grey values; or labels or a mask, which is told from the history or the values.
    labels : Volume, or ndarray of shape (nz, ny, nx), optional
        Labels of the volume's bodies: the surface of each is at its own level, as `etcli.measure` has it.
        The volume itself, given once more, is taken for labels whatever its values are.
    level : float, optional
        Value of the surface; by default that at the steepest edges, as in `etcli.segment`. With a value,
        labels are grey values as well.
    smooth : int
        Number of Taubin's smoothing steps; the volume inside is kept.
    reduce : float, optional
        Part of the faces to keep.
    unit : {"nm", "A", "um", "px"}, optional
        Unit of the vertices; by default nm, or px where the pixel size is unknown.
    open : bool
        Whether the surface ends at the border of the volume, instead of being closed there.
    session : Session, optional
        Memory and reporter.

    Returns
    -------
    Mesh
        With the faces, their area and the volume inside; `etcli.write` writes it as STL, PLY or OBJ.

    Raises
    ------
    DataError
        When the volume is constant.
    UsageError
        When an option is not valid, nothing or everything is brighter than the level, or the pixel size is
        needed but unknown.

    Examples
    --------
    >>> import numpy as np, etcli
    >>> z, y, x = np.mgrid[:24, :24, :24] - 11.5
    >>> ball = np.clip(8.5 - np.sqrt(x * x + y * y + z * z), 0, 1)
    >>> surface = etcli.mesh(etcli.Volume(ball, pixel_A=10.0), level=0.5)
    >>> surface.open_edges, round(surface.volume / (4 / 3 * np.pi * 8**3), 2)
    (0, 0.99)
    """
    request = MeshRequest(level, smooth, reduce, unit, open)
    stack = volume if isinstance(volume, Volume) else Volume(np.asarray(volume), name="array")
    if labels is not None and not isinstance(labels, Volume):
        labels = (
            stack if labels is volume else replace(stack, data=np.asarray(labels), name="labels", history=())
        )
    return mesh_of(session or Session(), stack, request, labels)


def mesh_files(
    session: Session, input: str, output: str, request: MeshRequest, labels: str | None = None
) -> Mesh:
    """Write the surface of a volume or of labels; see `mesh`."""
    form = mesh_format(output)
    request.check()
    volume = read_volume_only(session, input)
    beside = None
    if labels is not None:
        beside = (
            volume if Path(labels).resolve() == Path(input).resolve() else read_volume_only(session, labels)
        )
    with session.outputs() as outputs:
        path = outputs.path(output)
        result = mesh_of(session, volume, request, beside)
        write_mesh(path, result, form=form)
    return result


def mesh_of(session: Session, volume: Volume, request: MeshRequest, labels: Volume | None = None) -> Mesh:
    """Find the surface of a volume that may be on disk; see `mesh`."""
    request.check()
    if labels is not None and request.level is not None:
        raise UsageError("level: each label has a level of its own; leave out the level or the labels")
    unit, scale = _unit(session, volume.upright(), request.unit)
    found = found_surfaces(session, volume, labels, level=request.level, closed=not request.open)
    if found.stepped and not request.smooth:
        session.reporter.warn(
            f"surfaces of labels have the steps of voxels, which make them some {STEPPED} % too large; "
            "--smooth 10 takes that off"
        )
    volume = volume.upright()
    place = np.array([centre(n) for n in volume.shape])
    offset = np.array(_middle(volume, unit, scale))
    sizes = Size(0.0, 0.0, 0), Size(0.0, 0.0, 0)
    numbers, parts = [], []
    for batch in batches(found.surfaces):
        raw = replace(batch.surface, vertices=(batch.surface.vertices - place) * scale + offset)
        part = smoothed(raw, request.smooth)
        if found.of_labels and not request.open:
            part = with_volumes(part, batch.owner, batch.n_voxels * scale.prod())
        sizes = sizes[0] + Size.of(raw), sizes[1] + Size.of(part)
        if not request.reduce:
            parts.append(part)
            numbers.append(batch.label_of_faces)
            continue
        for label, one in batch.split(part):
            parts.append(reduced(one, request.reduce))
            numbers.append(np.full(len(parts[-1]), label))
    result = Mesh(
        joined(parts), unit, np.concatenate(numbers) if found.of_labels else None, found.level, *sizes
    )
    if result.open_edges and not request.open:
        advice = "leave out --reduce" if request.reduce else "give --smooth 0, or another --level"
        raise ConvergenceError(f"{volume.name}: its surface has {result.open_edges} open edges; {advice}")
    return result


def _unit(session: Session, volume: Volume, unit: str | None) -> tuple[str, NDArray[np.float64]]:
    """Return the unit of the vertices, and the sides (z, y, x) of a voxel in it."""
    sides_A = volume.voxel_A if volume.voxel_A and all(volume.voxel_A) else (volume.pixel_A or 0.0,) * 3
    if unit == "px":
        return unit, np.ones(3)
    if not all(sides_A):
        if unit is not None:
            raise UsageError(f"{volume.name}: the pixel size is not known; leave out the unit, or give px")
        session.reporter.warn(f"{volume.name}: the pixel size is not known; lengths are in pixels")
        return "px", np.ones(3)
    unit = unit or "nm"
    return unit, np.array(sides_A[::-1]) / UNITS[unit][0]


def _middle(volume: Volume, unit: str, scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the middle (z, y, x) of the volume from the rotation centre, 0 where that is unknown."""
    if volume.middle_A is None or not volume.pixel_A:
        return np.zeros(3)
    middle_A = np.array(volume.middle_A[::-1])
    return middle_A / volume.pixel_A if unit == "px" else middle_A / UNITS[unit][0]
