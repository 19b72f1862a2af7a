"""Centres of mass of the rows of a tilt series, and their motion when the specimen is tilted.

The slice of a specimen at one height along the axis has the same mass at every tilt, and its centre of mass
(x, z) is seen at x cos θ + z sin θ from the axis. Deviations of the centres from this motion reveal the
shifts of the views and the position and direction of the axis.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import ArrayLike, NDArray

from etcli.core.errors import DataError, NonFiniteViewError
from etcli.core.geometry import centre

Float = NDArray[np.float64]

FEWEST_VIEWS = 4  # for three unknowns
STEADY = 0.1  # relative deviation of the mass at which the weight of a row is one half
LEAST_MASS = 0.02  # of the heaviest row
LEAST_SEEN = 0.5  # of a row's mass, in every view
SMOOTH_PX = 1.5  # standard deviation, for rows measured in a rotated view


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

    def select(self, views: NDArray[np.intp]) -> "RowMoments":
        """Return the moments of some views, counted from 0."""
        return RowMoments(self.mass[views], self.moment_px[views])


def profile_centres(views: Iterable[NDArray[Any]], *, background: float) -> RowMoments:
    """Measure mass and centre of mass of the rows of a series, view by view.

    Parameters
    ----------
    views : iterable of ndarray of shape (ny, nx)
        An array, a memory map, or anything that yields views.
    background : float
        Level of the empty surroundings, which is subtracted.

    Returns
    -------
    RowMoments

    Raises
    ------
    DataError
        If a view holds NaN.

    Notes
    -----
    A remaining background draws every centre towards the middle of the view, by its share of the mass.
    """
    rows = []
    for number, view in enumerate(views, start=1):
        from_middle = np.arange(view.shape[1]) - centre(view.shape[1])
        total = np.sum(view, axis=1, dtype=np.float64) - background * view.shape[1]
        rows.append((total, view @ from_middle))  # the moment of a constant is zero
        if not np.isfinite(total).all():
            raise NonFiniteViewError(number - 1)
    mass, moment = np.array(rows).transpose(1, 0, 2)
    return RowMoments(mass, moment)


def turned_moments(
    image: NDArray[np.float32], matrix: ArrayLike, shift_px: ArrayLike, *, n_rows: int
) -> tuple[Float, Float]:
    """Measure mass and moment of the rows of a view after a linear transform, without interpolation.

    Parameters
    ----------
    image : ndarray of shape (ny, nx)
        The view, without background.
    matrix : array_like of shape (2, 2)
        A, acting on (x, y) about the middle.
    shift_px : array_like of shape (2,)
        d, (x, y) in pixels.
    n_rows : int
        Height of the transformed view.

    Returns
    -------
    mass, moment_px : ndarray of shape (n_rows,), float64
        As in `RowMoments`, smoothed along the rows' normal by a Gaussian of standard deviation 1.5 px.

    Notes
    -----
    The Fourier transform of the projection along the rows is a section through that of the view. There is no
    interpolation, because the noise after it would depend on the angle and be largest without a rotation.
    """
    matrix, shift_px = np.asarray(matrix, np.float64), np.asarray(shift_px, np.float64)
    x, y = (np.arange(n) - centre(n) for n in image.shape[::-1])
    n_padded = scipy.fft.next_fast_len(int(np.hypot(*image.shape)) + 8 * ceil(SMOOTH_PX), real=True)
    wave = _smoothed_frequencies(n_padded)
    columns = np.concatenate([image, image * x.astype(np.float32)]) @ _phase_factors(
        matrix[1, 0], len(x), n_padded
    )
    along_y = _phase_factors(matrix[1, 1], len(y), n_padded)
    along_y = along_y[:, : len(wave)] + 1j * along_y[:, len(wave) :]
    sums, x_sums = np.split(columns[:, : len(wave)] + 1j * columns[:, len(wave) :], 2)
    sums, x_sums = sums * along_y, x_sums * along_y
    mass = sums.sum(axis=0)
    moment = matrix[0, 0] * x_sums.sum(axis=0) + matrix[0, 1] * (y @ sums) + shift_px[0] * mass
    to_rows = np.exp(-1j * wave * (shift_px[1] + centre(n_rows)) - (wave * SMOOTH_PX) ** 2 / 2)
    rows = scipy.fft.irfft(np.stack([mass, moment]) * to_rows, n_padded)[:, :n_rows]
    return rows[0], rows[1]


def _smoothed_frequencies(n_padded: int) -> Float:
    """Return the angular frequencies, in rad/px, of ``n_padded`` rows that remain after smoothing."""
    wave: Float = 2 * np.pi * scipy.fft.rfftfreq(n_padded)
    return wave[wave * SMOOTH_PX < 2.5]


@lru_cache(maxsize=4)  # the same for all views of a series that is only shifted and rotated
def _phase_factors(slope: float, n: int, n_padded: int) -> NDArray[np.float32]:
    """Return exp(-i slope x wave) for pixels x about the centre: real parts, then imaginary parts."""
    phase = np.outer(slope * (np.arange(n) - centre(n)), _smoothed_frequencies(n_padded))
    return np.concatenate([np.cos(phase), -np.sin(phase)], axis=1).astype(np.float32)


@dataclass(frozen=True, eq=False)
class TiltingMotion:
    """Motion a + b cos θ + c sin θ fitted to the centres of mass of each row.

    Parameters
    ----------
    constant_px, cosine_px, sine_px : ndarray of shape (ny,), float64
        a, b and c in pixels; NaN in rows without weight.
    residual_px : ndarray of shape (n_views, ny), float64
        Centres of mass minus the fitted motion.
    """

    constant_px: Float
    cosine_px: Float
    sine_px: Float
    residual_px: Float


def fit_motion(centre_px: Float, tilt_deg: ArrayLike, *, weight: Float) -> TiltingMotion:
    """Fit the motion of a tilting specimen to the centres of mass of each row.

    Parameters
    ----------
    centre_px : ndarray of shape (n_views, ny)
        Centres of mass in pixels.
    tilt_deg : array_like of shape (n_views,)
        Tilt angles in degrees.
    weight : ndarray of shape (n_views, ny)
        Weight of each centre.

    Returns
    -------
    TiltingMotion

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
    return TiltingMotion(fitted[:, 0], fitted[:, 1], fitted[:, 2], centre_px - design @ fitted.T)


def axis_by_row(
    views: Iterable[NDArray[Any]], tilt_deg: ArrayLike, *, background: float
) -> tuple[Float, Float]:
    """Return the position of the tilt axis of an aligned series, row by row.

    Parameters
    ----------
    views : iterable of ndarray of shape (ny, nx)
        The series, its tilt axis vertical.
    tilt_deg : array_like of shape (n_views,)
        Tilt angles in degrees.
    background : float
        Level of the empty surroundings.

    Returns
    -------
    y_px, axis_px : ndarray of shape (n_rows,), float64
        Rows in which the position can be measured, and the position of the axis there, both from the middle
        of the views, in pixels; empty if there are fewer than four different tilt angles or no such row.

    Raises
    ------
    DataError
        If a view holds NaN.

    Notes
    -----
    The position is the constant a of the motion fitted to the row (`fit_motion`). Only rows that keep at
    least half of their median mass in all views are used: the others were shifted out of some views.
    """
    if len(np.unique(np.asarray(tilt_deg, np.float64))) < FEWEST_VIEWS:
        return np.empty(0), np.empty(0)
    moments = profile_centres(views, background=background)
    n_rows = moments.mass.shape[1]
    steady = steadiness(moments.mass)
    motion = fit_motion(moments.centre_px, tilt_deg, weight=np.broadcast_to(steady, moments.mass.shape))
    usable = (steady > 0) & (moments.mass > LEAST_SEEN * np.median(moments.mass, axis=0)).all(axis=0)
    return np.arange(n_rows, dtype=np.float64)[usable] - centre(n_rows), motion.constant_px[usable]


def steadiness(mass: Float) -> Float:
    """Return weights for rows, by how constant their mass is over the series.

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
    return np.asarray(heavy / (1 + (relative / STEADY) ** 2))


@dataclass(frozen=True, eq=False)
class Consistency:
    """Deviation of the rows of a series from those of one specimen that tilts about a vertical axis.

    Parameters
    ----------
    misfit : ndarray of shape (2,), float64
        Σ Δmass² and Σ Δmoment², in units of Σ mass²; the moment in pixels.
    offset_px : float
        Position of the axis, from the middle of the views, in pixels.
    residual_px : float
        Root mean square distance of the centres of mass from the motion fitted to them, in pixels.
    """

    misfit: Float
    offset_px: float
    residual_px: float

    @property
    def cost(self) -> float:
        """Negative logarithm of the likelihood with unknown variances, up to constants."""
        return float(np.sum(np.log(self.misfit + np.finfo(np.float64).eps)))


def measure_consistency(moments: RowMoments, tilt_deg: Float, *, weight: Float) -> Consistency:
    """Compare the rows of a series with those of one specimen that tilts about a vertical axis.

    Parameters
    ----------
    moments : RowMoments
        Moments of the rows of the series.
    tilt_deg : ndarray of shape (n_views,)
        Tilt angles in degrees.
    weight : ndarray of shape (ny,)
        Weight of each row.

    Returns
    -------
    Consistency

    Notes
    -----
    At every height q the mass m(q) must be the same in all views and the moment be m(q) (offset + b(q) cos θ
    + c(q) sin θ): the first two consistency conditions of the Radon transform. Remaining shifts in x and y
    and the brightness of each view are fitted, and so do not count as deviations.

    References
    ----------
    D. Ludwig, Commun. Pure Appl. Math. 19, 49 (1966), doi:10.1002/cpa.3160190105.
    """
    root = np.sqrt(weight)
    mass = moments.mass.mean(axis=0)
    fitted_basis = np.linalg.qr(root[:, np.newaxis] * np.stack([mass, np.gradient(mass)], axis=1)).Q
    change = root * (moments.mass - mass)
    change -= change @ fitted_basis @ fitted_basis.T

    tilt_rad = np.deg2rad(tilt_deg)
    motion_basis = np.linalg.qr(np.stack([np.cos(tilt_rad), np.sin(tilt_rad)], axis=1)).Q
    moment = root * moments.moment_px
    moment -= motion_basis @ (motion_basis.T @ moment)
    constant = 1 - motion_basis @ motion_basis.sum(axis=0)
    mass = root * mass
    total = max(float(mass @ mass), np.finfo(np.float64).tiny)
    shift = moment @ mass / total  # of each view; its constant part is the offset
    moment -= np.outer(shift, mass)

    misfit = np.array([np.sum(change**2), np.sum(moment**2)]) / total
    return Consistency(
        misfit, float(constant @ shift / (constant @ constant)), float(np.sqrt(misfit[1] / len(shift)))
    )
