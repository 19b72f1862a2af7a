"""A volume of HAADF's own, beside the elements: for views that are not the sum of the elements."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from etcli.core.fusion.element_maps import ElementMaps
from etcli.core.fusion.haadf_fit import HaadfFit, without_levels
from etcli.core.fusion.held_out import HeldOut, Setting, Tie
from etcli.core.fusion.scales import voxel_scales

Array = NDArray[np.float32]
Numbers = NDArray[np.float64]

STRENGTH = 0.03
"""Weight of the misfit of HAADF, 1 for its likelihood."""
SMOOTH = 2.0
"""Weight of HAADF in the prior over the largest of the elements: by held-out counts, in trials."""
DENSE = 0.5
"""Density of all elements from which on a voxel shows what they scatter."""
STEPS = 30
NARROW = 0.02
"""Deviation, relative to the brightest voxel, up to which voxels count by its square."""


def with_channel(maps: ElementMaps, fit: HaadfFit, setting: Setting, prior: str) -> Setting:
    """Add a volume that HAADF shows, to which no element is tied.

    Parameters
    ----------
    maps : ElementMaps
        With the HAADF series.
    fit : HaadfFit
        Its noise and levels.
    setting : Setting
        Weights of the elements.
    prior : {"tv", "tnv"}
        With ``tnv`` the edges of the elements are drawn to where those of HAADF are.

    Returns
    -------
    Setting

    Notes
    -----
    Nothing needs to be known of the HAADF signal of the elements, and their sum need not be linear in it:
    saturation and elements without a map do no harm. It helps less than the tie.

    References
    ----------
    Z. Zhong et al., Ultramicroscopy 190 (2018) 11, doi:10.1016/j.ultramic.2018.01.001.
    """
    n, major = len(maps.names), ~np.array(maps.minor)
    shown = np.maximum(without_levels(maps.haadf_views, fit.levels), 0)
    assert maps.haadf_geometry is not None
    scale = voxel_scales([shown], maps.haadf_geometry, threads=maps.threads)[0]
    weights = np.append(setting.weights, SMOOTH * setting.weights[major].max())
    tie = Tie(STRENGTH, np.append(np.zeros(n), scale), fit.noise, fit.levels)
    return Setting(prior, weights, tie, channel=True)


def fit_beside_rest(maps: ElementMaps, held_out: HeldOut, fit: HaadfFit, setting: Setting) -> HaadfFit:
    """Find the HAADF signal of the elements where something bright has no map.

    Parameters
    ----------
    maps : ElementMaps
        With the HAADF series.
    held_out : HeldOut
    fit : HaadfFit
        As found without regard to that.
    setting : Setting
        Weights of the elements.

    Returns
    -------
    HaadfFit
        With the signal of the elements, and of what has no map.
    """
    channel = with_channel(maps, fit, setting, "tv")
    assert channel.tie is not None
    volume = held_out.trial(channel).volume
    scale = float(channel.tie.weights[-1])
    major = np.flatnonzero(~np.array(maps.minor))
    weights = np.zeros(len(maps.names))
    weights[major] = voxel_weights(volume[major], np.float32(scale) * volume[-1])
    return replace(fit, weights=weights, rest=scale)


def voxel_weights(elements: Array, haadf: Array) -> Numbers:
    """Fit the HAADF signal of elements to most of their voxels, whatever the others show.

    Parameters
    ----------
    elements : ndarray of shape (n_elements, nz, ny, nx)
        Densities.
    haadf : ndarray of shape (nz, ny, nx)
        A volume that was reconstructed from HAADF alone.

    Returns
    -------
    ndarray of shape (n_elements,), float64
        Signal w of a voxel of density 1, which minimises Σ |h − Σ w x| and is not negative.

    Notes
    -----
    Views sum up what is along a ray, but most voxels hold either the elements or something else. Sums of
    absolute values go by the majority of voxels: those with something else beside do not change them. Solved
    by iteratively reweighted least squares.
    """
    dense = elements.sum(axis=0) > DENSE
    x, h = elements[:, dense].astype(np.float64), haadf[dense].astype(np.float64)
    w = np.zeros(len(elements))
    if not h.size or h.max() <= 0:
        return w
    trust = np.ones(len(h))
    for _ in range(STEPS):
        w = np.linalg.lstsq((x * trust) @ x.T, (x * trust) @ h, rcond=None)[0]
        trust = 1 / np.maximum(np.abs(h - w @ x), NARROW * h.max())
    return np.maximum(w, 0.0)
