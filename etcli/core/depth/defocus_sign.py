"""Test of the sign of the defocus: whether focal profiles fit a library better with the focus reversed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etcli.core.depth.focal_library import CoreProfiles
from etcli.core.depth.focal_profiles import fit_depths

Doubles = NDArray[np.float64]

LEAST_POWER = 25.0
"""Chi-square by which a wrong sign has to be worse, in expectation, for the test to tell anything."""


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
        return self.has_power and self.advantage < -self.expected / 2


def sign_of_defocus(
    profile: Doubles,
    variance: Doubles | None,
    focus_A: Doubles,
    count: NDArray[np.int64],
    library: CoreProfiles,
    *,
    window_A: float,
    used: NDArray[np.bool_],
) -> SignTest:
    """Compare the fit of focal profiles with that of the reversed focus.

    Parameters
    ----------
    profile : ndarray of shape (n_sections, n_columns), float64
        Intensities in the core discs.
    variance : ndarray of shape (n_sections, n_columns), float64, or None
        Their noise; that of the residuals is taken when None.
    focus_A : ndarray of shape (n_sections,), float64
        Depths of the focal plane in Å.
    count : ndarray of shape (n_columns,), int64
        Atoms of each column, from 1.
    library : CoreProfiles
    window_A : float
        Sections that are used: within this focus of the profile's centre.
    used : ndarray of shape (n_columns,), bool
        Columns that are compared.

    Returns
    -------
    SignTest
    """
    count, profile = count[used], profile[:, used]
    variance = None if variance is None else variance[:, used]

    def misfit(values: Doubles, foci: Doubles) -> tuple[Doubles, Doubles]:
        fit = fit_depths(values, foci, count, library, window_A=window_A, variance=variance)
        residual = np.where(fit.used & ~fit.no_fit, values - fit.model, 0.0)
        noise = np.ones_like(values) if variance is None else variance
        return (residual**2 / noise).sum(axis=0), fit.model

    given, model = misfit(profile, focus_A)
    reversed_focus, _ = misfit(profile, -focus_A)
    expected, _ = misfit(np.nan_to_num(model), -focus_A)
    per_value = given.sum() / max(profile.size - 3 * profile.shape[1], 1)
    noise = max(1.0, per_value) if variance is not None else max(per_value, np.finfo(float).tiny)
    return SignTest(float((reversed_focus - given).sum() / noise), float(expected.sum() / noise))
