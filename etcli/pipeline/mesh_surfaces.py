"""Surfaces of a volume or of labels as they are found, before they are smoothed."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import DataError, UsageError
from etcli.core.series import Volume
from etcli.core.surfaces.grey_surface import Surface, grey_surface
from etcli.core.surfaces.label_surfaces import LabelSurface, are_labels, grey_label_surfaces, label_surfaces
from etcli.core.surfaces.mesh import joined
from etcli.core.surfaces.unequal_bodies import unequal_plateaus
from etcli.core.surfaces.vertex_count import count_vertices
from etcli.io.segmentation_step import STEP
from etcli.pipeline.inputs import load_images
from etcli.pipeline.measure import check_fits, label_levels, read_labels
from etcli.pipeline.session import Session

ARRAYS_NEEDED = 8
"""Arrays of the size of the volume that the work needs at most, but for the surface."""
VERTEX_BYTES = 800
"""Memory of the work on a vertex and its two triangles: networks with noise take 710."""
BATCH = 200_000
"""Triangles of labels that are worked on at once."""
WHOLE = np.zeros((0, 0, 0), np.bool_)


@dataclass(frozen=True, eq=False)
class FoundSurfaces:
    """Surfaces of a volume, in voxels.

    Parameters
    ----------
    surfaces : iterable of LabelSurface
        Label 0 where there are no labels.
    level : float or None
        Grey level, where there is one for all.
    stepped : bool
        Whether the surfaces follow voxels, not grey levels.
    """

    surfaces: Iterable[LabelSurface]
    level: float | None = None
    stepped: bool = False

    @property
    def of_labels(self) -> bool:
        """Whether they are surfaces of labels."""
        return self.level is None


@dataclass(frozen=True, eq=False)
class Batch:
    """Surfaces of several labels as one.

    Parameters
    ----------
    surface : Surface
    labels, n_voxels : ndarray of shape (n,)
        Number and voxels of each.
    n_vertices, n_faces : ndarray of shape (n,), int
    """

    surface: Surface
    labels: NDArray[np.int64]
    n_voxels: NDArray[np.float64]
    n_vertices: NDArray[np.int64]
    n_faces: NDArray[np.int64]

    @classmethod
    def of(cls, parts: list[LabelSurface]) -> "Batch":
        """Join surfaces."""
        return cls(
            joined([part.surface for part in parts]),
            np.array([part.label for part in parts], np.int64),
            np.array([part.n_voxels for part in parts], np.float64),
            np.array([len(part.surface.vertices) for part in parts], np.int64),
            np.array([len(part.surface) for part in parts], np.int64),
        )

    @property
    def owner(self) -> NDArray[np.int64]:
        """Index of the label of each vertex."""
        return np.repeat(np.arange(len(self.labels)), self.n_vertices)

    @property
    def label_of_faces(self) -> NDArray[np.int64]:
        """Label of each face."""
        return np.repeat(self.labels, self.n_faces)

    def split(self, surface: Surface) -> Iterator[tuple[int, Surface]]:
        """Yield each label and its part of a surface with the same faces."""
        vertex = face = 0
        for label, n, m in zip(self.labels, self.n_vertices, self.n_faces, strict=True):
            part = slice(vertex, vertex := vertex + int(n))
            faces = surface.faces[face : (face := face + int(m))]
            yield int(label), Surface(surface.vertices[part], faces - part.start)


def found_surfaces(
    session: Session, volume: Volume, labels: Volume | None, *, level: float | None, closed: bool
) -> FoundSurfaces:
    """Find the surface of a volume, or those of labels.

    Parameters
    ----------
    session : Session
    volume : Volume
        Grey values, or labels.
    labels : Volume, optional
        Labels in the volume. The volume itself is labels whatever its values look like.
    level : float, optional
        Value of the surface; it makes labels a volume.
    closed : bool
        Whether surfaces close at the border.
    """
    upright = volume.upright()
    values = load_images(session, upright, copies=ARRAYS_NEEDED)
    if labels is not None and labels is not volume:
        return _in_volume(session, upright, values, labels.upright(), closed=closed)
    low, high = float(values.min()), float(values.max())
    if low == high:
        raise DataError(f"{volume.name}: all values are {low:g}, so it has no surface")
    if labels is not None or (level is None and _holds_labels(volume, values)):
        del values
        return _of_labels(session, upright, closed=closed)
    if level is None:
        level = _level_of_edges(session, values, volume.name)
    if not low <= level < high:
        what = "everything" if level < low else "nothing"
        raise UsageError(
            f"{what} is brighter than {level:g}: {volume.name} has values from {low:g} to {high:g}"
        )
    check_surface_fits(session, volume, (section > level for section in values))
    return FoundSurfaces(_of_volume(values, level, closed=closed), float(level))


def check_surface_fits(session: Session, volume: Volume, sections: Iterable[NDArray[Any]]) -> None:
    """Check that the surface of labels, or of a mask, fits into the memory; raise UsageError otherwise."""
    n = count_vertices(sections)
    need = 4 * ARRAYS_NEEDED * prod(volume.shape) + VERTEX_BYTES * n
    if need > session.memory:
        raise UsageError(
            f"{volume.name}: its surface of {2 * n:.2g} triangles takes {-(-need >> 20)}M of memory, but "
            f"only {session.memory >> 20}M are allowed; give a larger --memory, or bin or crop it"
        )


def batches(surfaces: Iterable[LabelSurface]) -> Iterator[Batch]:
    """Put small surfaces together: the work on each costs more than that on its triangles."""
    parts: list[LabelSurface] = []
    n_faces = 0
    for part in surfaces:
        parts.append(part)
        n_faces += len(part.surface)
        if n_faces >= BATCH:
            yield Batch.of(parts)
            parts, n_faces = [], 0
    if n_faces:
        yield Batch.of(parts)


def _holds_labels(volume: Volume, values: NDArray[np.float32]) -> bool:
    """Whether the history or the values say that a volume holds labels."""
    if any(STEP.match(step) for step in volume.history):
        return not any((section % 1).any() for section in values) and float(values.min()) >= 0
    return are_labels(values)


def _of_volume(values: NDArray[Any], level: float, *, closed: bool) -> Iterator[LabelSurface]:
    yield LabelSurface(0, grey_surface(values, level, closed=closed), 0)


def _of_labels(session: Session, labels: Volume, *, closed: bool) -> FoundSurfaces:
    """Find the surfaces of labels without grey values."""
    session.reporter.report(f"{labels.name}: taken for labels; --level makes it a volume")
    sums = read_labels(labels, WHOLE)
    check_surface_fits(session, labels, sums.numbers)
    found = session.track(label_surfaces(sums, closed=closed), len(sums), "surfaces")
    return FoundSurfaces(found, stepped=True)


def _in_volume(
    session: Session, volume: Volume, grey: NDArray[np.float32], labels: Volume, *, closed: bool
) -> FoundSurfaces:
    """Find the surfaces of labels at their own levels in a volume, as `etcli.measure` does."""
    check_fits(labels, volume)
    sums = read_labels(labels, WHOLE)
    check_surface_fits(session, labels, sums.numbers)
    levels = label_levels(session, grey, sums, labels)

    def present() -> Iterator[LabelSurface]:
        """Yield surfaces that there are, and tell how many there are not."""
        found = session.track(grey_label_surfaces(grey, sums, levels, closed=closed), len(sums), "surfaces")
        missing = 0
        for part in found:
            missing += not len(part.surface)
            yield part
        if missing == len(sums):
            raise DataError(f"{labels.name}: no label is brighter or darker than its surroundings")
        if missing:
            session.reporter.warn(
                f"{labels.name}: {missing} of {len(sums)} labels have no surface at their level"
            )

    return FoundSurfaces(present())


def _level_of_edges(session: Session, values: NDArray[np.float32], name: str) -> float:
    """Return the level of the edges; warn where it fits only some bodies."""
    from etcli.core.segmentation.thresholds import global_threshold

    (level,) = global_threshold(values, "edge", threads=session.threads)
    session.reporter.report(f"{name}: surface at {level:.4g}, the level of its edges; --level sets another")
    low, high = unequal_plateaus(values, level, threads=session.threads)
    if low < high:
        session.reporter.warn(
            f"{name}: has bodies of levels from {low:.3g} to {high:.3g}, whose surfaces are not all at "
            f"{level:.4g}; segment it, and give the result as --labels"
        )
    return level
