"""Least-squares fits of amplitude × shape + background to many profiles at once."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from etcli.core.depth.focal_library import CoreProfiles

Doubles = NDArray[np.float64]
Mask = NDArray[np.bool_]

FIRST_STEPS_A = 4.0
"""Step of the depths that are tried before the best one is refined."""
FIRST_WIDTH_A = 40.0
"""Standard deviation from which Gaussians start: the depth of field of a probe of 20 mrad at 300 kV."""
ROUNDS, SETTLED_A = 40, 1e-4


@dataclass(frozen=True, eq=False)
class ShapeFit:
    """Fitted parameters of all columns; NaN without a fit.

    Parameters
    ----------
    depth, sigma : ndarray of shape (n_columns,), float64
        Depth of the shape's centre and its standard error in Å.
    amplitude, amplitude_error, background : ndarray of shape (n_columns,), float64
        The error of the amplitude is that of the fitted shape, with the background unknown.
    chi2 : ndarray of shape (n_columns,), float64
        Reduced chi-square; 1 by definition where the noise is not known.
    model : ndarray of shape (n_sections, n_columns), float64
        Fitted profiles.
    """

    depth: Doubles
    sigma: Doubles
    amplitude: Doubles
    amplitude_error: Doubles
    background: Doubles
    chi2: Doubles
    model: Doubles


class Shape(Protocol):
    """Shapes of profiles at given depths, and their derivatives by their parameters, the depth first."""

    def start(self, depth: Doubles) -> Doubles:
        """Return the parameters from which a fit starts: shape (n_parameters, n_columns)."""

    def values(self, focus: Doubles, parameters: Doubles) -> tuple[Doubles, Doubles]:
        """Compute shapes, (n_sections, n_columns), and derivatives, (n_parameters, n_sections, n_columns)."""

    def peak_offset(self) -> Doubles | float:
        """Return the focus of the highest value relative to the depth in Å."""


@dataclass(frozen=True, eq=False)
class Templates:
    """Library profile of each column's count."""

    library: CoreProfiles
    count: NDArray[np.int64]

    def start(self, depth: Doubles) -> Doubles:
        """See `Shape`."""
        return depth[np.newaxis]

    def values(self, focus: Doubles, parameters: Doubles) -> tuple[Doubles, Doubles]:
        """See `Shape`."""
        relative = focus[:, np.newaxis] - parameters[0]
        value, slope = np.empty_like(relative), np.empty_like(relative)
        for n_atoms in np.unique(self.count):
            of = self.count == n_atoms
            value[:, of] = self.library.at(n_atoms, relative[:, of])
            slope[:, of] = -self.library.slope_at(n_atoms, relative[:, of])
        return value, slope[np.newaxis]

    def peak_offset(self) -> Doubles:
        """See `Shape`."""
        return self.library.peak_A[self.count - 1]


@dataclass(frozen=True)
class Gaussians:
    """Gaussians of free width; the second parameter is the logarithm of their standard deviation."""

    def start(self, depth: Doubles) -> Doubles:
        """See `Shape`."""
        return np.stack([depth, np.full_like(depth, np.log(FIRST_WIDTH_A))])

    def values(self, focus: Doubles, parameters: Doubles) -> tuple[Doubles, Doubles]:
        """See `Shape`."""
        width = np.exp(parameters[1])
        scaled = (focus[:, np.newaxis] - parameters[0]) / width
        value = np.exp(-(scaled**2) / 2)
        return value, np.stack([value * scaled / width, value * scaled**2])

    def peak_offset(self) -> float:
        """See `Shape`."""
        return 0.0


def fit_shapes(
    shape: Shape, profile: Doubles, focus: Doubles, used: Mask, variance: Doubles | None
) -> ShapeFit:
    """Fit amplitude × shape + background by weighted least squares, all columns at once.

    Parameters
    ----------
    shape : Shape
    profile : ndarray of shape (n_sections, n_columns), float64
    focus : ndarray of shape (n_sections,), float64
        Depths of the focal plane in Å.
    used : ndarray of shape (n_sections, n_columns), bool
        Sections that are fitted.
    variance : ndarray of shape (n_sections, n_columns), float64, or None
        Variance of the profile; None: all sections have the same weight.

    Returns
    -------
    ShapeFit
    """
    noise = np.ones_like(profile) if variance is None else np.maximum(variance, np.finfo(float).tiny)
    known = np.isfinite(profile).all(axis=0) & np.isfinite(noise).all(axis=0)
    known &= np.ptp(profile, axis=0) > 1e-9 * np.abs(profile).max(axis=0)  # a constant has no depth
    profile, weight = np.where(known, profile, 0.0), used / np.where(known, noise, 1.0)
    reach = 0.25 * np.ptp(focus)
    grid = np.arange(focus.min() - reach, focus.max() + reach, FIRST_STEPS_A)
    parameters = shape.start(np.zeros(profile.shape[1]))
    lowest = np.full(profile.shape[1], np.inf)
    for depth in grid:
        trial = shape.start(np.full(profile.shape[1], depth))
        amplitude, background = _linear(shape.values(focus, trial)[0], profile, weight)
        misfit = _misfit(shape, trial, amplitude, background, profile, focus, weight)
        better = (misfit < lowest) & (amplitude > 0)
        parameters, lowest = np.where(better, trial, parameters), np.where(better, misfit, lowest)
    found = np.isfinite(lowest)
    parameters = _refined(shape, parameters, profile, focus, weight)
    value, slopes = shape.values(focus, parameters)
    amplitude, background = _linear(value, profile, weight)
    model = amplitude * value + background
    degrees = np.maximum(used.sum(axis=0) - 2 - len(parameters), 1)
    chi2 = (weight * (profile - model) ** 2).sum(axis=0) / degrees
    jacobian = np.concatenate([amplitude * slopes, value[np.newaxis], np.ones_like(value)[np.newaxis]])
    covariance = np.linalg.pinv(_normal(jacobian, weight), hermitian=True)
    scale = chi2 if variance is None else np.maximum(chi2, 1)
    error = np.sqrt(np.maximum(np.diagonal(covariance, axis1=1, axis2=2) * scale[:, np.newaxis], 0))
    found &= known & np.isfinite(parameters).all(axis=0) & (amplitude > 0)
    # of the shape as it was fitted: a width that is badly known makes no profile faint
    power = (weight * (value - np.average(value, axis=0, weights=weight)) ** 2).sum(axis=0)
    faint = np.sqrt(scale / np.maximum(power, np.finfo(float).tiny))
    shown = chi2 if variance is not None else np.ones_like(chi2)
    columns = (parameters[0], error[:, 0], amplitude, faint, background, shown, model)
    return ShapeFit(*(np.where(found, values, np.nan) for values in columns))


def _refined(shape: Shape, parameters: Doubles, profile: Doubles, focus: Doubles, weight: Doubles) -> Doubles:
    """Refine the shapes' parameters by Levenberg-Marquardt steps; amplitude and background are eliminated."""
    damping = np.full(profile.shape[1], 1e-3)
    value, slopes = shape.values(focus, parameters)
    amplitude, background = _linear(value, profile, weight)
    misfit = _misfit(shape, parameters, amplitude, background, profile, focus, weight)
    for _ in range(ROUNDS):
        jacobian = np.concatenate([amplitude * slopes, value[np.newaxis], np.ones_like(value)[np.newaxis]])
        normal = _normal(jacobian, weight)
        right = np.einsum("psc,sc->cp", jacobian, weight * (profile - amplitude * value - background))
        diagonal = np.arange(normal.shape[1])
        normal[:, diagonal, diagonal] *= 1 + damping[:, np.newaxis]
        normal[:, diagonal, diagonal] += 1e-300
        step = np.linalg.solve(normal, right[..., np.newaxis])[:, : len(parameters), 0].T
        trial = parameters + step
        trial_value, trial_slopes = shape.values(focus, trial)
        trial_amplitude, trial_background = _linear(trial_value, profile, weight)
        trial_misfit = _misfit(shape, trial, trial_amplitude, trial_background, profile, focus, weight)
        better = trial_misfit <= misfit
        damping = np.clip(np.where(better, damping / 5, damping * 8), 1e-9, 1e9)
        parameters = np.where(better, trial, parameters)
        value, slopes = np.where(better, trial_value, value), np.where(better, trial_slopes, slopes)
        amplitude = np.where(better, trial_amplitude, amplitude)
        background = np.where(better, trial_background, background)
        misfit = np.where(better, trial_misfit, misfit)
        if np.abs(step[0]).max(initial=0) < SETTLED_A:
            break
    return parameters


def _misfit(
    shape: Shape,
    parameters: Doubles,
    amplitude: Doubles,
    background: Doubles,
    profile: Doubles,
    focus: Doubles,
    weight: Doubles,
) -> Doubles:
    model = amplitude * shape.values(focus, parameters)[0] + background
    return np.asarray((weight * (profile - model) ** 2).sum(axis=0))


def _linear(value: Doubles, profile: Doubles, weight: Doubles) -> tuple[Doubles, Doubles]:
    """Solve for the amplitude and background of each column."""
    total = weight.sum(axis=0)
    mean_value = (weight * value).sum(axis=0) / total
    mean_profile = (weight * profile).sum(axis=0) / total
    centred = value - mean_value
    power = (weight * centred**2).sum(axis=0)
    amplitude = np.divide(
        (weight * centred * profile).sum(axis=0), power, out=np.zeros_like(power), where=power > 0
    )
    return amplitude, mean_profile - amplitude * mean_value


def _normal(jacobian: Doubles, weight: Doubles) -> Doubles:
    return np.asarray(np.einsum("psc,sc,qsc->cpq", jacobian, weight, jacobian, optimize=True))
