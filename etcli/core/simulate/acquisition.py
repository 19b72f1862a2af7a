"""Acquisition of a simulated tilt series: its errors and its noise, for any signal."""

from collections.abc import Callable, Sequence
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
    """True parameters of a simulated tilt series.

    Parameters
    ----------
    tilt_deg : ndarray of shape (n_views,), float64
        Tilt angles at which the views were taken; the series holds the nominal ones.
    shift_px : ndarray of shape (n_views, 2), float64
        Displacement (x, y) of the content of each view, in pixels.
    axis_deg : float
        Angle R from +y to the tilt axis, counter-clockwise.
    axis_offset_px : float
        Distance of the tilt axis from the image's centre, along +x once the axis is vertical.
    background : float
        Added to every pixel, in density · pixels.
    electrons_per_unit : float or None
        Electrons per pixel for one density · pixel; None without noise.
    solids : sequence of dict
        Sizes and places of the bodies, as of `etcli.core.simulate.true_solids`, where they are known.

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
    solids: Sequence[dict[str, float]] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain numbers and lists, for JSON.

        Returns
        -------
        dict
            One entry per field, with the same name; ``solids`` only where there are some.
        """
        return {
            "tilt_deg": self.tilt_deg.tolist(),
            "shift_px": self.shift_px.tolist(),
            "axis_deg": self.axis_deg,
            "axis_offset_px": self.axis_offset_px,
            "background": self.background,
            "electrons_per_unit": self.electrons_per_unit,
            **({"solids": list(self.solids)} if self.solids else {}),
        }


@dataclass(frozen=True)
class AcquisitionErrors:
    """Errors of the acquisition: drift, position of the tilt axis, and errors of the tilt angles.

    Parameters
    ----------
    drift_px : float
        Views are displaced in x and y by up to this, uniformly and independently.
    axis_deg, axis_offset_px : float
        Angle and offset of the tilt axis; see `GroundTruth`.
    tilt_error_deg : float
        Standard deviation of the normal error of each tilt angle.
    """

    drift_px: float = 0.0
    axis_deg: float = 0.0
    axis_offset_px: float = 0.0
    tilt_error_deg: float = 0.0

    def check(self) -> None:
        """Validate the errors; raise UsageError for values that are negative or not finite."""
        if not (0 <= self.drift_px < np.inf and 0 <= self.tilt_error_deg < np.inf):
            raise UsageError(
                f"drift {self.drift_px} px and tilt error {self.tilt_error_deg}° are not both possible; "
                "use zero or positive numbers"
            )
        if not np.isfinite([self.axis_deg, self.axis_offset_px]).all():
            raise UsageError("tilt axis and background must be finite numbers")


@dataclass(frozen=True)
class CountingNoise:
    """Poisson noise of counted electrons, on a constant background.

    Parameters
    ----------
    electrons_per_unit : float or None
        Electrons per pixel and unit of the signal; None for no noise.
    background : float
        Added to every pixel before the noise, in units of the signal.
    """

    electrons_per_unit: float | None = None
    background: float = 0.0

    def apply(self, clean: Image, rng: np.random.Generator) -> Image:
        """Add background and noise to a clean image, which is overwritten; return the recorded image."""
        clean += self.background
        if self.electrons_per_unit is None:
            return clean
        expected = np.maximum(clean, 0) * self.electrons_per_unit
        return np.asarray(rng.poisson(expected) / self.electrons_per_unit, np.float32)


def draw_truth(
    tilt_deg: Array,
    generators: Sequence[np.random.Generator],
    *,
    errors: AcquisitionErrors,
    noise: CountingNoise,
) -> GroundTruth:
    """Draw the true parameters of a tilt series.

    Parameters
    ----------
    tilt_deg : ndarray of shape (n_views,), float64
        Nominal tilt angles in degrees.
    generators : sequence of numpy.random.Generator
        One for each view. It draws the same numbers whatever the sizes of the errors.
    errors : AcquisitionErrors
    noise : CountingNoise

    Returns
    -------
    GroundTruth

    Raises
    ------
    UsageError
        If errors or background are not finite, or an error is negative.
    """
    errors.check()
    if not np.isfinite(noise.background):
        raise UsageError("tilt axis and background must be finite numbers")
    shift = np.array([errors.drift_px * generator.uniform(-1, 1, 2) for generator in generators])
    error = np.array([errors.tilt_error_deg * generator.standard_normal() for generator in generators])
    return GroundTruth(
        tilt_deg + error,
        shift,
        errors.axis_deg,
        errors.axis_offset_px,
        noise.background,
        noise.electrons_per_unit,
    )


def record(
    signal: Callable[[int, GroundTruth], Image],
    tilt_deg: Array,
    *,
    shape: tuple[int, int],
    errors: AcquisitionErrors,
    noise: CountingNoise,
    rng: np.random.Generator,
    check: Callable[[GroundTruth], None] | None = None,
    threads: int = 1,
) -> tuple[NDArray[np.float32], GroundTruth]:
    """Record a tilt series with errors and noise, given its signal.

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
        Every view has its own generator, spawned from this one, and draws the same numbers whatever the sizes
        of the errors. So adding views at the end or changing an error leaves everything else unchanged.
    check : callable, optional
        ``check(truth)`` raises an error, before any view is computed, if the specimen cannot be imaged so.
    threads : int
        Views computed at the same time; the result does not depend on it.

    Returns
    -------
    data : ndarray of shape (n_views, ny, nx), float32
        With noise, counted electrons divided by the electrons per unit.
    truth : GroundTruth
        True parameters of the series.

    Raises
    ------
    UsageError
        If errors or background are not finite, or an error is negative.
    """
    n_views = len(tilt_deg)
    generators = rng.spawn(n_views)
    truth = draw_truth(tilt_deg, generators, errors=errors, noise=noise)
    if check is not None:
        check(truth)

    def view(k: int) -> Image:
        return noise.apply(signal(k, truth), generators[k])

    data = np.empty((n_views, *shape), np.float32)
    for target, image in zip(data, ordered_map(view, range(n_views), threads=threads), strict=True):
        target[:] = image
    return data, truth
