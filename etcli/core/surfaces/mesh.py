"""Surface of a volume or of labelled bodies, as it is written."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from etcli.core.surfaces.edges import count_open_edges
from etcli.core.surfaces.grey_surface import Surface, area, enclosed_volume


@dataclass(frozen=True, eq=False)
class Size:
    """Area and volume of a surface, in powers of its unit, and its number of faces."""

    area: float
    volume: float
    n_faces: int

    @classmethod
    def of(cls, surface: Surface) -> "Size":
        """Measure a surface."""
        return cls(area(surface), enclosed_volume(surface), len(surface))

    def __add__(self, other: "Size") -> "Size":
        return Size(self.area + other.area, self.volume + other.volume, self.n_faces + other.n_faces)


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles with their unit; of labelled bodies, with the label of each.

    Parameters
    ----------
    surface : Surface
        Vertices (z, y, x) from the rotation centre, or from the middle of the volume where that is unknown.
    unit : {"px", "A", "nm", "um"}
        Unit of the vertices.
    labels : ndarray of shape (m,), int64, or None
        Label of each face, rising.
    level : float or None
        Value of the surface in the volume.
    extracted, smoothed : Size or None
        What was found, and what it was before its faces were reduced.
    """

    surface: Surface
    unit: str = "nm"
    labels: NDArray[np.int64] | None = None
    level: float | None = None
    extracted: Size | None = None
    smoothed: Size | None = None
    size: Size = field(init=False)
    """Area, volume and number of faces."""
    open_edges: int = field(init=False)
    """Number of edges without a face at both sides."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", Size.of(self.surface))
        object.__setattr__(self, "open_edges", count_open_edges(self.surface))

    @property
    def area(self) -> float:
        """Area in the square of the unit."""
        return self.size.area

    @property
    def volume(self) -> float:
        """Volume inside in the cube of the unit; NaN where the surface is open."""
        return float("nan") if self.open_edges else self.size.volume

    @property
    def n_pieces(self) -> int:
        """Number of surfaces that do not touch; cavities count."""
        return pieces(self.surface)[0]


def pieces(surface: Surface) -> tuple[int, NDArray[np.int32]]:
    """Return the number of pieces that do not touch, and that of the piece of each vertex."""
    n = len(surface.vertices)
    first, second, third = surface.faces.T
    ends = np.concatenate([first, first]), np.concatenate([second, third])
    edges = coo_array((np.ones(2 * len(first), bool), ends), shape=(n, n))
    n_pieces, piece = connected_components(edges, directed=False)
    return int(n_pieces), piece


def joined(surfaces: Sequence[Surface]) -> Surface:
    """Return several surfaces as one, in their order."""
    if not surfaces:
        return Surface(np.empty((0, 3)), np.empty((0, 3), np.int64))
    starts = np.cumsum([0, *(len(surface.vertices) for surface in surfaces)])
    return Surface(
        np.concatenate([surface.vertices for surface in surfaces]),
        np.concatenate([surface.faces + start for surface, start in zip(surfaces, starts[:-1], strict=True)]),
    )
