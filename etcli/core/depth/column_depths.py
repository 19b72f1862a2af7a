"""Depths of columns in a crystal: focal profiles without the light of the neighbouring columns."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etcli.core.depth.focal_images import FocalImages
from etcli.core.depth.focal_library import CoreProfiles, FocalLibrary
from etcli.core.depth.focal_profiles import DepthFit, core_intensities, core_noise, fit_depths
from etcli.core.depth.superposition import superposed_sections

Doubles = NDArray[np.float64]
Counts = NDArray[np.int64]

ROUNDS = 2
"""Rounds of subtracting the neighbours at the depths of the round before."""
LEAST_INTENSITY = 1e-4
"""Smallest fraction of the beam of which the Poisson noise is computed."""


@dataclass(frozen=True)
class ProfileOptions:
    """How depths are read from focal profiles.

    Parameters
    ----------
    core_radius_A : float
        Radius of the disc around each column in Å.
    window_A : float
        Sections that are used: within this focus of the profile's centre.
    method : {"template", "gaussian"}
        See `etcli.core.depth.focal_profiles.fit_depths`.
    """

    core_radius_A: float = 0.5
    window_A: float = 100.0
    method: str = "template"


@dataclass(frozen=True, eq=False)
class MeasuredDepths:
    """Depths with the profiles from which they were found.

    Parameters
    ----------
    fit : DepthFit
    profile : ndarray of shape (n_sections, n_columns), float64
        Intensities in the core discs, less those of the neighbours where these are known.
    variance : ndarray of shape (n_sections, n_columns), float64, or None
        Poisson noise of the profiles, where the dose is known.
    """

    fit: DepthFit
    profile: Doubles
    variance: Doubles | None


def measure_depths(
    images: FocalImages,
    columns_px: Doubles,
    count: Counts,
    profiles: CoreProfiles | None,
    options: ProfileOptions,
    *,
    library: FocalLibrary | None = None,
    start_A: Doubles | None = None,
    scale: float = 1.0,
) -> MeasuredDepths:
    """Measure the depths of columns.

    Parameters
    ----------
    images : FocalImages
    columns_px : ndarray of shape (n_columns, 2), float64
        x and y of the columns in pixels.
    count : ndarray of shape (n_columns,), int64
        Atoms of each column; one of 0 atoms is fitted as one of 1, but hides nothing of its neighbours.
    profiles : CoreProfiles or None
        Library for the fit; without it the peaks of Gaussians are not corrected.
    options : ProfileOptions
    library : FocalLibrary, optional
        With radii, to subtract the neighbours.
    start_A : ndarray of shape (n_columns,), float64, optional
        Depths of the neighbours in the first round; measured with the neighbours when not given.
    scale : float
        Recorded intensity relative to that of the library.

    Returns
    -------
    MeasuredDepths

    Raises
    ------
    DataError, UsageError
        As `etcli.core.depth.focal_profiles.fit_depths`.
    """
    radius_px = options.core_radius_A / images.pixel_A
    displacement, focus = images.displacement_px, images.focus_A
    recorded = core_intensities(
        images.sections, columns_px, radius_px=radius_px, displacement_px=displacement
    )
    noise = None if images.electrons is None else core_noise(radius_px) / images.electrons

    def fitted(profile: Doubles, expected: Doubles) -> MeasuredDepths:
        variance = None if noise is None else noise * np.maximum(expected, LEAST_INTENSITY)
        fit = fit_depths(
            profile,
            focus,
            np.maximum(count, 1),
            profiles,
            method=options.method,
            window_A=options.window_A,
            variance=variance,
        )
        return MeasuredDepths(fit, profile, variance)

    if library is None or start_A is None:
        found = fitted(recorded, recorded)
        depth = clear_depths(found.fit.depth_A, found.fit, focus)
    else:
        depth = start_A
    if library is None:
        return found
    core = library.core_profiles(options.core_radius_A)
    for _ in range(ROUNDS):
        sections = superposed_sections(
            columns_px,
            count,
            depth,
            library,
            focus_A=focus,
            shape=images.shape,
            pixel_A=images.pixel_A,
            displacement_px=displacement,
        )
        all_of_them = core_intensities(
            sections, columns_px, radius_px=radius_px, displacement_px=displacement
        )
        own = np.stack(
            [core.at(n, focus - z) if n else 0 * focus for n, z in zip(count, depth, strict=True)], axis=1
        )
        found = fitted(recorded - scale * (all_of_them - own), scale * all_of_them)
        depth = clear_depths(found.fit.depth_A, found.fit, focus)
    return found


def clear_depths(depth_A: Doubles, fit: DepthFit, focus_A: Doubles) -> Doubles:
    """Return depths limited to the range of focus, and their median where the profile shows none clearly.

    Parameters
    ----------
    depth_A : ndarray of shape (n_columns,), float64
        Depths or peaks in Å; NaN where unknown.
    fit : DepthFit
        Fit that they are of.
    focus_A : ndarray of shape (n_sections,), float64
        In Å.

    Returns
    -------
    ndarray of shape (n_columns,), float64
    """
    known = np.isfinite(depth_A) & ~fit.low_contrast & ~fit.peak_outside
    middle = float(np.median(depth_A[known])) if known.any() else float(focus_A.mean())
    return np.clip(np.where(known, depth_A, middle), focus_A.min(), focus_A.max())
