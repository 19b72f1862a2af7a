"""Centres of mass of the rows of a tilt series, and the motion they follow when the specimen turns.

The slice of a specimen at one height along the axis keeps its mass at every tilt, and its centre of mass
(x, z) is seen at x cos θ + z sin θ from the axis. What the centres do beyond that tells of the shifts of the
views and of the place and direction of the axis.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etcli.core.errors import DataError
from etcli.core.geometry import centre

Float = NDArray[np.float64]

FEWEST_VIEWS = 4  # for three unknowns
STEADY = 0.1  # relative deviation of the mass at which a row counts half
LEAST_MASS = 0.02


@dataclass(frozen=True, eq=False)
class RowMoments:
    """Mass and centre of mass of every row of every view.

    Parameters
    ----------
    mass : ndarray of shape (n_views, ny), float64
        Sum of the intensity above background.
    moment_px : ndarray of shape (n_views, ny), float64
        Sum of the intensity times the distance from the middle of the view, in pixels.
    """

    mass: Float
    moment_px: Float

    @property
    def centre_px(self) -> Float:
        """Centres of mass, from the middle of the view, in pixels; 0 where there is no mass."""
        return np.divide(self.moment_px, self.mass, out=np.zeros_like(self.mass), where=self.mass > 0)


def profile_centers(views: Iterable[NDArray[Any]], *, background: float) -> RowMoments:
    """Measure mass and centre of mass of the rows of a series, view by view.

    Parameters
    ----------
    views : iterable of ndarray of shape (ny, nx)
        An array, a memory map, or anything that yields views.
    background : float
        Level of the empty surroundings, taken off.

    Returns
    -------
    RowMoments

    Raises
    ------
    DataError
        If a view holds NaN.

    Notes
    -----
    A background left in draws every centre towards the middle of the view, by the share it has in the mass.
    """
    rows = []
    for number, view in enumerate(views, start=1):
        from_middle = np.arange(view.shape[1]) - centre(view.shape[1])
        total = np.sum(view, axis=1, dtype=np.float64) - background * view.shape[1]
        rows.append((total, view @ from_middle))  # the moment of a constant is zero
        if not np.isfinite(total).all():
            raise DataError(f"view {number} holds values that are not finite; exclude it or mend the file")
    mass, moment = np.array(rows).transpose(1, 0, 2)
    return RowMoments(mass, moment)


@dataclass(frozen=True, eq=False)
class Motion:
    """The motion a + b cos θ + c sin θ that fits the centres of mass of each row best.

    Parameters
    ----------
    constant_px, cosine_px, sine_px : ndarray of shape (ny,), float64
        a, b and c in pixels; NaN in rows without weight.
    residual_px : ndarray of shape (n_views, ny), float64
        What the motion leaves of the centres.
    """

    constant_px: Float
    cosine_px: Float
    sine_px: Float
    residual_px: Float


def fit_motion(centre_px: Float, tilt_deg: ArrayLike, *, weight: Float) -> Motion:
    """Fit the motion of a turning specimen to the centres of mass of each row.

    Parameters
    ----------
    centre_px : ndarray of shape (n_views, ny)
        Centres of mass in pixels.
    tilt_deg : array_like of shape (n_views,)
        Tilt angles in degrees.
    weight : ndarray of shape (n_views, ny)
        How much each centre counts.

    Returns
    -------
    Motion

    Raises
    ------
    DataError
        If there are fewer than four different tilt angles.
    """
    tilt_rad = np.deg2rad(np.asarray(tilt_deg, np.float64))
    if len(np.unique(tilt_rad)) < FEWEST_VIEWS:
        raise DataError(
            f"the motion of the specimen cannot be fitted to {len(np.unique(tilt_rad))} tilt angles; "
            f"{FEWEST_VIEWS} are needed"
        )
    design = np.stack([np.ones_like(tilt_rad), np.cos(tilt_rad), np.sin(tilt_rad)], axis=1)
    normal = np.einsum("vy,vi,vj->yij", weight, design, design)
    measured = np.einsum("vy,vi,vy->yi", weight, design, centre_px)
    fitted = np.full(measured.shape, np.nan)
    enough = np.count_nonzero(weight, axis=0) >= FEWEST_VIEWS
    fitted[enough] = np.linalg.solve(normal[enough], measured[enough, :, np.newaxis])[..., 0]
    return Motion(*fitted.T, residual_px=centre_px - design @ fitted.T)


def steadiness(mass: Float) -> Float:
    """Weight rows by how constant their mass is over the series.

    Parameters
    ----------
    mass : ndarray of shape (n_views, ny)
        Mass of every row of every view.

    Returns
    -------
    ndarray of shape (ny,), float64
        1 where the mass is constant, 1/2 where its robust standard deviation is a tenth of its median; 0
        in rows of less than 2 % of the largest median.
    """
    typical = np.median(mass, axis=0)
    heavy = (typical > 0) & (typical >= LEAST_MASS * typical.max())
    spread = 1.4826 * np.median(np.abs(mass - typical), axis=0)
    relative = np.divide(spread, typical, out=np.zeros_like(spread), where=heavy)
    return heavy / (1 + (relative / STEADY) ** 2)
