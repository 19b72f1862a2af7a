"""How a simulated series is acquired: its errors and its noise, whatever the signal is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import UsageError
from etcli.core.parallel import ordered_map

Array = NDArray[np.float64]
Image = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """What a simulated tilt series has suffered.

    Parameters
    ----------
    tilt_deg : ndarray of shape (n_views,), float64
        Tilt angles at which the views were taken; the series holds the nominal ones.
    shift_px : ndarray of shape (n_views, 2), float64
        How far (x, y) the content of each view is displaced, in pixels.
    axis_deg : float
        Angle R from +y to the tilt axis, counter-clockwise.
    axis_offset_px : float
        Distance of the tilt axis from the image's centre, along +x once the axis is vertical.
    background : float
        Added to every pixel, in density · pixels.
    electrons_per_unit : float or None
        Electrons a pixel per density · pixel; None without noise.

    Notes
    -----
    With c the centre of the image, the point (x, y, z) of the specimen is seen at

        c + (p cos R − y sin R, p sin R + y cos R) + shift,  p = x cos θ + z sin θ + offset.
    """

    tilt_deg: Array
    shift_px: Array
    axis_deg: float = 0.0
    axis_offset_px: float = 0.0
    background: float = 0.0
    electrons_per_unit: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain numbers and lists, as JSON has them.

        Returns
        -------
        dict
            One entry a field, of the same name.
        """
        return {
            "tilt_deg": self.tilt_deg.tolist(),
            "shift_px": self.shift_px.tolist(),
            "axis_deg": self.axis_deg,
            "axis_offset_px": self.axis_offset_px,
            "background": self.background,
            "electrons_per_unit": self.electrons_per_unit,
        }


@dataclass(frozen=True)
class AcquisitionErrors:
    """What goes wrong between a view and the next.

    Parameters
    ----------
    drift_px : float
        Views are displaced in x and y by up to this, uniformly and independently.
    axis_deg, axis_offset_px : float
        Where the tilt axis lies; see `GroundTruth`.
    tilt_error_deg : float
        Standard deviation of the normal error of each tilt angle.
    """

    drift_px: float = 0.0
    axis_deg: float = 0.0
    axis_offset_px: float = 0.0
    tilt_error_deg: float = 0.0

    def check(self) -> None:
        """Refuse errors that cannot be; a UsageError."""
        if not (0 <= self.drift_px < np.inf and 0 <= self.tilt_error_deg < np.inf):
            raise UsageError(
                f"drift {self.drift_px} px and tilt error {self.tilt_error_deg}° are sizes; use zero or "
                "positive numbers"
            )
        if not np.isfinite([self.axis_deg, self.axis_offset_px]).all():
            raise UsageError("tilt axis and background must be finite numbers")


@dataclass(frozen=True)
class CountingNoise:
    """The noise of counted electrons on a background.

    Parameters
    ----------
    electrons_per_unit : float or None
        Electrons a pixel per unit of the signal; None for no noise.
    background : float
        Added to every pixel before the noise, in units of the signal.
    """

    electrons_per_unit: float | None = None
    background: float = 0.0

    def applied(self, clean: Image, rng: np.random.Generator) -> Image:
        """Return what is recorded of a clean image, which is overwritten."""
        clean += self.background
        if self.electrons_per_unit is None:
            return clean
        expected = np.maximum(clean, 0) * self.electrons_per_unit
        return np.asarray(rng.poisson(expected) / self.electrons_per_unit, np.float32)


def record(
    signal: Callable[[int, GroundTruth], Image],
    tilt_deg: Array,
    *,
    shape: tuple[int, int],
    errors: AcquisitionErrors,
    noise: CountingNoise,
    rng: np.random.Generator,
    threads: int = 1,
) -> tuple[NDArray[np.float32], GroundTruth]:
    """Record a series.

    Parameters
    ----------
    signal : callable
        ``signal(k, truth)`` returns view k without noise, float32 of the given shape.
    tilt_deg : ndarray of shape (n_views,), float64
        Nominal tilt angles in degrees.
    shape : (int, int)
        Rows and columns of a view.
    errors : AcquisitionErrors
    noise : CountingNoise
    rng : numpy.random.Generator
        Every view draws from a generator of its own spawned from this one, and draws the same whatever
        the sizes of the errors. So views added at the end and errors changed leave the others as they are.
    threads : int
        Views computed at once; the result does not depend on it.

    Returns
    -------
    data : ndarray of shape (n_views, ny, nx), float32
        With noise, counted electrons divided by the electrons that one unit gives.
    truth : GroundTruth
        What was applied.

    Raises
    ------
    UsageError
        When errors or background are no numbers.
    """
    errors.check()
    if not np.isfinite(noise.background):
        raise UsageError("tilt axis and background must be finite numbers")
    n_views = len(tilt_deg)
    generators = rng.spawn(n_views)
    shift = np.array([errors.drift_px * own.uniform(-1, 1, 2) for own in generators])
    error = np.array([errors.tilt_error_deg * own.standard_normal() for own in generators])
    truth = GroundTruth(
        tilt_deg + error,
        shift,
        errors.axis_deg,
        errors.axis_offset_px,
        noise.background,
        noise.electrons_per_unit,
    )

    def view(k: int) -> Image:
        return noise.applied(signal(k, truth), generators[k])

    data = np.empty((n_views, *shape), np.float32)
    for target, image in zip(data, ordered_map(view, range(n_views), threads=threads), strict=True):
        target[:] = image
    return data, truth
