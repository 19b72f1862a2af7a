"""Test of the sign of the defocus: whether focal profiles fit a library better with the focus reversed."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from etcli.core.depth.column_depths import MeasuredDepths, ProfileOptions, measure_depths
from etcli.core.depth.focal_images import FocalImages
from etcli.core.depth.focal_library import CoreProfiles, FocalLibrary
from etcli.core.depth.focal_profiles import fit_depths

Doubles = NDArray[np.float64]

LEAST_POWER = 100.0
"""Chi-square by which a wrong sign has to be worse, in expectation, for the test to tell anything: five
standard deviations of its noise, as libraries that are not quite right take half of it away."""


@dataclass(frozen=True)
class SignTest:
    """Evidence on the sign of the defocus.

    A column brightens at the focal plane that lies in its upper part, the more so the thicker it is; its
    profile is not symmetric.

    Parameters
    ----------
    advantage : float
        Chi-square of all profiles with the focus reversed, minus that with the focus as given, in units of
        the noise.
    expected : float
        What it would be without noise if the sign is right.
    """

    advantage: float
    expected: float

    @property
    def has_power(self) -> bool:
        """Whether the crystal is thick enough and the noise low enough to tell."""
        return self.expected >= LEAST_POWER

    @property
    def wrong(self) -> bool:
        """Whether the data speak for the other sign."""
        return self.has_power and self.advantage < 0


def sign_of_defocus(
    images: FocalImages,
    columns_px: Doubles,
    count: NDArray[np.int64],
    measured: MeasuredDepths,
    profiles: CoreProfiles,
    options: ProfileOptions,
    *,
    library: FocalLibrary | None,
    scale: float,
    used: NDArray[np.bool_],
) -> SignTest:
    """Measure the depths with the focus reversed, and compare the fits.

    Parameters
    ----------
    images : FocalImages
    columns_px : ndarray of shape (n_columns, 2), float64
    count : ndarray of shape (n_columns,), int64
        Atoms of each column, from 1.
    measured : MeasuredDepths
        Depths with the focus as given.
    profiles : CoreProfiles
    options : ProfileOptions
    library : FocalLibrary or None
        To subtract the neighbours, as in the measurement.
    scale : float
        Recorded intensity relative to that of the library.
    used : ndarray of shape (n_columns,), bool
        Columns that are compared.

    Returns
    -------
    SignTest
    """
    template = replace(options, method="template")
    mirrored = replace(images, focus_A=-images.focus_A)
    depth = np.where(np.isfinite(measured.fit.depth_A), -measured.fit.depth_A, 0.0)
    start = None if library is None else np.clip(depth, mirrored.focus_A.min(), mirrored.focus_A.max())
    right = measured
    if options.method != "template":
        right = measure_depths(
            images,
            columns_px,
            count,
            profiles,
            template,
            library=library,
            start_A=None if start is None else -start,
            scale=scale,
        )
    wrong = measure_depths(
        mirrored, columns_px, count, profiles, template, library=library, start_A=start, scale=scale
    )
    given, other = _misfit(right, used), _misfit(wrong, used)
    # The fit itself, without noise, tells what a wrong sign would cost.
    model = np.where(np.isfinite(right.fit.model), right.fit.model, right.profile)
    fitted = fit_depths(
        model, mirrored.focus_A, count, profiles, window_A=options.window_A, variance=right.variance
    )
    expected = _misfit(MeasuredDepths(fitted, model, right.variance), used)
    values = right.fit.used[:, used].sum()
    # The better fit tells the noise; the misfit of a wrong sign would pass for noise and hide itself.
    noise = min(given, other) / max(int(values) - 3 * int(used.sum()), 1)
    if right.variance is not None:
        noise = max(noise, 1.0)
    noise = max(noise, np.finfo(float).tiny)
    return SignTest((other - given) / noise, expected / noise)


def _misfit(measured: MeasuredDepths, used: NDArray[np.bool_]) -> float:
    """Compute chi-square, or the sum of squares where the noise is not known."""
    fit = measured.fit
    residual = np.where(fit.used & ~fit.no_fit, measured.profile - fit.model, 0.0)
    noise = 1.0 if measured.variance is None else measured.variance
    return float((residual**2 / noise)[:, used].sum())
