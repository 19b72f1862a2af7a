"""Maps of the elements of one specimen, with the HAADF series recorded beside them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import UsageError
from etcli.core.fusion.problem import FusionProblem, fusion_problem
from etcli.core.geometry import SliceGeometry

Array = NDArray[np.float32]

MINOR = 0.05
"""Share of all counts below which an element is minor."""
RIM, FULL = 0.02, 0.5
"""Width of the rim as a share of the view, and its counts relative to the mean from which on it is full."""


@dataclass(frozen=True, eq=False)
class ElementMaps:
    """Counts of elements, and the HAADF series if there is one.

    Parameters
    ----------
    names : tuple of str
        The elements.
    counts : tuple of ndarray of shape (n_views, ny, nx), float32
        One series an element, all of the same views.
    geometry : SliceGeometry
        Their tilt angles, and the slices of the volume.
    haadf : ndarray of shape (n_haadf_views, ny, nx), float32, or None
        HAADF views of the same pixels, with tilt angles of their own.
    haadf_geometry : SliceGeometry or None
        These, and the same slices.
    threads : int
        Number of threads.
    blur : float
        Blur of the counts by interpolation, as in `etcli.core.fusion.slab_views.SlabViews`.
    """

    names: tuple[str, ...]
    counts: tuple[Array, ...]
    geometry: SliceGeometry
    haadf: Array | None = None
    haadf_geometry: SliceGeometry | None = None
    threads: int = 1
    blur: float = 0.0

    @cached_property
    def sums(self) -> NDArray[np.float64]:
        """All counts of each element."""
        return np.array([counts.sum(dtype=np.float64) for counts in self.counts])

    @cached_property
    def minor(self) -> tuple[bool, ...]:
        """Whether each element has less than 5 % of all counts."""
        return tuple(bool(few) for few in self.sums < MINOR * self.sums.sum())

    @cached_property
    def fills_views(self) -> bool:
        """Whether the specimen goes on beyond the views: their rims have half of the mean counts or more."""
        nx = self.geometry.n_detector
        strip = max(2, round(RIM * nx))
        columns = np.sum([counts.sum(axis=(0, 1), dtype=np.float64) for counts in self.counts], axis=0)
        return bool(np.concatenate([columns[:strip], columns[-strip:]]).mean() > FULL * columns.mean())

    @property
    def haadf_views(self) -> Array:
        """The HAADF views; a UsageError where there are none."""
        if self.haadf is None:
            raise UsageError("there is no HAADF series; give one")
        return self.haadf

    @property
    def haadf_tilt_deg(self) -> NDArray[np.float64]:
        """Tilt angles of the HAADF views; a UsageError where there are none."""
        if self.haadf_geometry is None:
            raise UsageError("there is no HAADF series; give one")
        return self.haadf_geometry.tilt_deg

    def problem(self) -> FusionProblem:
        """Return what the solver fits, with all gains 1 and with the HAADF views as they are."""
        return fusion_problem(
            self.counts,
            self.geometry,
            haadf=self.haadf,
            haadf_geometry=self.haadf_geometry,
            blur=self.blur,
            threads=self.threads,
        )
