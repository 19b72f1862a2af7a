"""The HAADF signal of the elements: noise, weight of each element, and the level of each view."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from etcli.core.background import rim_level
from etcli.core.errors import DataError
from etcli.core.fusion.element_maps import ElementMaps
from etcli.core.fusion.held_out import Tie
from etcli.core.fusion.parts import Parts
from etcli.core.fusion.problem import FusionProblem
from etcli.core.fusion.view_gains import view_gains

Array = NDArray[np.float32]
Numbers = NDArray[np.float64]

SAME_TILT_DEG = 0.25
"""Difference up to which the goniometer was meant to be at the same tilt."""
SPECIMEN = 0.1
"""Share of the brightest intensity from which on a pixel shows specimen."""
FULL = 0.5
"""Share of what the rims of HAADF show from which on the maps explain them."""
OF_NORMAL = 0.6745
"""Median of the absolute value of a normally distributed number of standard deviation 1."""


@dataclass(frozen=True, eq=False)
class HaadfFit:
    """What the HAADF series shows of the elements.

    Parameters
    ----------
    weights : ndarray of shape (n_elements,), float64
        Signal of a voxel of density 1; 0 for minor elements.
    shares : ndarray of shape (n_elements,), float64
        Shares of the elements in the signal of all.
    noise : float
        Standard deviation of a pixel.
    levels : ndarray of shape (n_haadf_views,), float64
        Level of each view.
    gains : ndarray of shape (n_views,), float64
        Gains of the views of the maps.
    n_common : int
        Views of the maps at tilts of the HAADF series.
    rest : float
        Signal of a voxel of density 1 of what has no map; 0 where all has one.
    """

    weights: Numbers
    shares: Numbers
    noise: float
    levels: Numbers
    gains: Numbers
    n_common: int
    rest: float = 0.0

    def tie(self, strength: float) -> Tie:
        """Return the tie of this strength, also of what has no map."""
        weights = np.append(self.weights, self.rest) if self.rest else self.weights
        return Tie(strength, weights, self.noise, self.levels)


def fit_haadf(
    maps: ElementMaps,
    problem: FusionProblem,
    parts: Parts,
    scales: Numbers,
    volume: Array,
    *,
    rest: float = 0.0,
) -> HaadfFit:
    """Find what the HAADF series shows of the elements.

    Parameters
    ----------
    maps : ElementMaps
        With the HAADF series.
    problem : FusionProblem
        The same with the gains as far as they are known.
    parts : Parts
        The counts of `volume`, and the other part.
    scales : ndarray of shape (n_elements,), float64
        Counts a voxel of density 1.
    volume : ndarray of shape (n_channels, nz, ny, nx), float32
        Densities fitted to one part of the counts; with `rest` the last one is of what has no map.
    rest : float
        Signal of a voxel of density 1 of that.

    Returns
    -------
    HaadfFit

    Raises
    ------
    DataError
        When there is no common tilt, or HAADF does not show any of the elements.
    """
    haadf = maps.haadf_views
    held_out, counts = parts.held_out
    own, at_haadf = common_views(maps.geometry.tilt_deg[held_out], maps.haadf_tilt_deg)
    at = held_out[own]
    shown = problem.gains[at] > 0
    own, at, at_haadf = own[shown], at[shown], at_haadf[shown]
    if not len(at):
        raise DataError("the maps and the HAADF series have no tilt in common; check the angles of both")
    gains = problem.gains[at].astype(np.float32)[:, np.newaxis, np.newaxis]
    predicted = [problem.project(of_channel)[at] for of_channel in volume]
    measured = [
        of_element[own] / (np.float32(parts.scales[1] * scale) * gains)
        for of_element, scale in zip(counts, scales, strict=True)
    ]
    measured += predicted[len(measured) :]  # what has no map is known by its fit only
    weights = _weights(predicted, measured, haadf[at_haadf], np.array(maps.minor))
    mapped = np.tensordot(weights.astype(np.float32), np.stack(measured[: len(weights)]), axes=1)
    levels = view_levels(haadf, at_haadf, mapped)
    haadf = without_levels(haadf, levels)
    order = np.argsort(maps.haadf_tilt_deg, kind="stable")
    sums = haadf.sum(axis=(1, 2), dtype=np.float64)[order]
    expected = np.interp(maps.geometry.tilt_deg, maps.haadf_tilt_deg[order], sums)
    found = view_gains(maps.counts, scales, weights, expected)
    return HaadfFit(weights, _shares(weights, measured), haadf_noise(haadf), levels, found, len(at), rest)


def without_levels(haadf: Array, levels: Numbers) -> Array:
    """Subtract the level of each view."""
    without: Array = haadf - levels.astype(np.float32)[:, np.newaxis, np.newaxis]
    return without


def _weights(
    predicted: Sequence[Array], measured: Sequence[Array], haadf: Array, minor: NDArray[np.bool_]
) -> Numbers:
    """Fit the weights of the elements, 0 for minor ones: their noise would stand for what has no map."""
    fitted = [*np.flatnonzero(~minor), *range(len(minor), len(predicted))]
    found = haadf_weights([predicted[c] for c in fitted], [measured[c] for c in fitted], haadf)
    weights = np.zeros(len(minor))
    weights[~minor] = found[: np.count_nonzero(~minor)]
    if not weights.any():
        raise DataError("HAADF does not show what the maps show; check that both are of the same area")
    return weights


def _shares(weights: Numbers, measured: Sequence[Array]) -> Numbers:
    """Return the shares of the elements in the signal that they explain."""
    signal = weights * [maps.sum(dtype=np.float64) for maps in measured[: len(weights)]]
    return np.asarray(signal / max(float(signal.sum()), float(np.finfo(np.float64).tiny)))


def common_views(tilt_deg: Numbers, haadf_tilt_deg: Numbers) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the indices of views of the maps, and of HAADF views, at the tilts that both have."""
    nearest = np.abs(haadf_tilt_deg - tilt_deg[:, np.newaxis]).argmin(axis=1)
    same = np.abs(haadf_tilt_deg[nearest] - tilt_deg) <= SAME_TILT_DEG
    return np.flatnonzero(same), nearest[same]


def haadf_noise(haadf: Array) -> float:
    """Measure the standard deviation of the noise of HAADF views where they show specimen.

    Parameters
    ----------
    haadf : ndarray of shape (n_views, ny, nx)
        Views without their background level.

    Returns
    -------
    float
        From the median of mixed second differences over 2 × 2 pixels, in which smooth structure cancels; the
        least that the pixel values can tell apart where that is 0.
    """
    mixed = (haadf[:, 1:, 1:] - haadf[:, 1:, :-1] - haadf[:, :-1, 1:] + haadf[:, :-1, :-1]) / 2
    blurred = gaussian_filter(haadf, (0, 1, 1))[:, 1:, 1:]
    bright = float(np.quantile(blurred, 0.99))
    differences = np.abs(mixed[blurred > SPECIMEN * bright])
    noise = float(np.median(differences)) / OF_NORMAL if differences.size else 0.0
    return max(noise, float(np.finfo(np.float32).eps) * abs(bright), float(np.finfo(np.float32).tiny))


def haadf_weights(predicted: Sequence[Array], measured: Sequence[Array], haadf: Array) -> Numbers:
    """Fit the HAADF signal of a voxel of density 1 of each element by instrumental variables.

    Parameters
    ----------
    predicted : sequence of ndarray of shape (n_views, ny, nx)
        Projections of each element, of a volume fitted to one part of the counts: the instruments.
    measured : sequence of ndarray of shape (n_views, ny, nx)
        The other part of the counts in the same unit: the regressors.
    haadf : ndarray of shape (n_views, ny, nx)
        HAADF views of the same tilts.

    Returns
    -------
    ndarray of shape (n_elements,), float64
        The weights w, not negative.

    Notes
    -----
    h = Σ w_c a_c + level_t with a level of each view, so all images are taken relative to their means:
    w = (IᵀY)⁻¹ Iᵀh. Least squares on the counts would make w too small, because counts are noisy; on the
    projections, wrong by up to 11 %, because priors shrink. Here the noise of the regressors is independent
    of the instruments, so neither biases w, and a poor volume only makes it less exact.

    References
    ----------
    P. G. Wright, The Tariff on Animal and Vegetable Oils, Macmillan (1928), appendix B.
    """
    instruments, regressors = (
        np.stack([_centred(part) for part in parts]) for parts in (predicted, measured)
    )
    w = np.linalg.lstsq(instruments @ regressors.T, instruments @ _centred(haadf), rcond=None)[0]
    return np.asarray(np.maximum(w, 0.0), np.float64)


def view_levels(haadf: Array, common: NDArray[np.intp], mapped: Array) -> Numbers:
    """Find the level of HAADF views: what they show without the elements of the maps.

    Parameters
    ----------
    haadf : ndarray of shape (n_haadf_views, ny, nx)
        The views as they are.
    common : ndarray of shape (n,), intp
        Those at tilts of the maps.
    mapped : ndarray of shape (n, ny, nx)
        The signal in these that the maps explain, with the noise of their counts.

    Returns
    -------
    ndarray of shape (n_haadf_views,), float64

    Notes
    -----
    The level is that of the rim of each view: an offset of the detector, or a film without a map. Where the
    maps explain most of what the rims show, these are not empty; then the level is one for all views, the
    mean of what the maps do not explain.
    """
    rims = rim_level(haadf)
    strip = max(2, round(0.02 * haadf.shape[2]))
    at_rim = float(
        np.concatenate([mapped[..., :strip], mapped[..., -strip:]], axis=-1).mean(dtype=np.float64)
    )
    if at_rim <= FULL * max(float(rims[common].mean()), float(mapped.mean())):
        return rims
    unexplained = haadf[common].mean(dtype=np.float64) - mapped.mean(dtype=np.float64)
    return np.full(len(haadf), float(unexplained))


def _centred(images: Array) -> Numbers:
    """Return all pixels relative to the means of their views."""
    values = np.asarray(images, np.float64)
    centred: Numbers = (values - values.mean(axis=(1, 2), keepdims=True)).ravel()
    return centred
