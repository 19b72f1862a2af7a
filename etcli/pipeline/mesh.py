"""Surfaces of volumes and of labels, in memory or from file to file."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.arguments import check_choice, checked_integer, checked_number
from etcli.core.errors import ConvergenceError, DataError, UsageError
from etcli.core.geometry import centre
from etcli.core.lengths import UNITS
from etcli.core.series import Volume
from etcli.core.surfaces.grey_surface import Surface, grey_surface
from etcli.core.surfaces.label_surfaces import are_labels, checked_labels, label_surfaces
from etcli.core.surfaces.mesh import Mesh, Size, joined
from etcli.core.surfaces.reduction import reduced
from etcli.core.surfaces.smoothing import smoothed
from etcli.io.meshes import mesh_format, write_mesh
from etcli.pipeline.inputs import load_images, read_volume_only
from etcli.pipeline.session import Session

MESH_UNITS = ("nm", "A", "um", "px")
ARRAYS_NEEDED = 8
"""Arrays of the size of the volume that the extraction of its surface needs at most."""
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
        Grey values; or labels or a mask, which is told from the values.
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
    return mesh_of(session or Session(), stack, request)


def mesh_files(session: Session, input: str, output: str, request: MeshRequest) -> Mesh:
    """Write the surface of a volume or of labels; see `mesh`."""
    form = mesh_format(output)
    request.check()
    volume = read_volume_only(session, input)
    with session.outputs() as outputs:
        path = outputs.path(output)
        result = mesh_of(session, volume, request)
        write_mesh(path, result, form=form)
    return result


def mesh_of(session: Session, volume: Volume, request: MeshRequest) -> Mesh:
    """Find the surface of a volume that may be on disk; see `mesh`."""
    request.check()
    volume = volume.upright()
    unit, scale = _unit(session, volume, request.unit)
    values = load_images(session, volume, copies=ARRAYS_NEEDED)
    level = request.level
    surfaces: Iterator[tuple[int, Surface]]
    is_labelled = level is None and are_labels(values)
    if is_labelled:
        labels = checked_labels(values, volume.name)
        n = int(labels.max())
        session.reporter.report(f"{volume.name}: taken for labels; --level makes it a volume")
        if not request.smooth:
            session.reporter.warn(
                f"surfaces of labels have the steps of voxels, which make them some {STEPPED} % too large; "
                "--smooth 10 takes that off"
            )
        surfaces = session.track(label_surfaces(labels, closed=not request.open), n, "surfaces")
    else:
        level = _checked_level(session, values, level, volume.name)
        surfaces = iter([(0, grey_surface(values, level, closed=not request.open))])
    place = np.array([centre(n) for n in values.shape])
    offset = np.array(_middle(volume, unit, scale))
    found = Size(0.0, 0.0, 0), Size(0.0, 0.0, 0)
    numbers, parts = [], []
    for number, surface in surfaces:
        raw = replace(surface, vertices=(surface.vertices - place) * scale + offset)
        part = smoothed(raw, request.smooth)
        found = found[0] + Size.of(raw), found[1] + Size.of(part)
        parts.append(reduced(part, request.reduce) if request.reduce else part)
        numbers.append(np.full(len(parts[-1]), number))
    result = Mesh(
        joined(parts),
        unit,
        np.concatenate(numbers) if is_labelled else None,
        None if is_labelled else level,
        *found,
    )
    if result.open_edges and not request.open:
        raise ConvergenceError(
            f"{volume.name}: its surface has {result.open_edges} open edges; leave out --reduce"
        )
    return result


def _checked_level(session: Session, values: NDArray[np.float32], level: float | None, name: str) -> float:
    """Return the level, by default that of the edges; raise an error where no surface has it."""
    low, high = float(values.min()), float(values.max())
    if low == high:
        raise DataError(f"{name}: all values are {low:g}, so it has no surface")
    if level is None:
        from etcli.core.segmentation.thresholds import global_threshold

        (level,) = global_threshold(values, "edge", threads=session.threads)
        session.reporter.report(
            f"{name}: surface at {level:.4g}, the level of its edges; --level sets another"
        )
    if not low <= level < high:
        what = "everything" if level < low else "nothing"
        raise UsageError(f"{what} is brighter than {level:g}: {name} has values from {low:g} to {high:g}")
    return float(level)


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
