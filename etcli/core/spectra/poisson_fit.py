"""Maps of known spectra by maximum likelihood for Poisson counts, held together by neighbouring pixels.

References
----------
.. [1] L. B. Lucy, Astron. J. 79, 745 (1974), doi:10.1086/111605: the iteration.
.. [2] B. W. Silverman et al., J. R. Stat. Soc. B 52, 271 (1990): smoothing between its steps (EMS).
"""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from etcli.core.spectra._counts_kernels import assign_counts, smooth_maps
from etcli.core.spectra.counts import Maps, SpectrumCounts, ViewCounts

STEPS = 30
"""Iterations, after which maps change by less than a tenth of their noise."""
SMOOTHING = 0.25
"""Weight of a neighbour in the smoothing between iterations."""


def fit_maps(counts: SpectrumCounts, spectra: NDArray[np.float64], *, threads: int = 1) -> Maps:
    """Share the counts of each pixel out among known spectra.

    The maps follow x ← x Sᵀ(c/Sx) [1]_, smoothed over neighbouring pixels after each step [2]_, so that they
    tell what a photon in a channel probably is in that surrounding. Then the photons of each pixel, without
    smoothing, are shared out by these probabilities: the maps of a pixel add up to its counts. The plain
    iteration for each pixel would turn the noise of few counts into elements that are not there, as no map
    can become negative.

    Parameters
    ----------
    counts : SpectrumCounts
    spectra : ndarray of shape (n_spectra, n_channels), float64
        Expected counts in the sum of all pixels; their ratio is the start. Zero in channels not to use.
    threads : int

    Returns
    -------
    ndarray of shape (n_spectra, n_views, ny, nx), float32
        Counts, which may be fractional.
    """
    columns, share = _normalised(spectra)
    fitted = partial(_fitted, columns=columns, share=share, shape=counts.shape)
    return counts.as_maps(lambda view: fitted(view)[1], threads=threads)


def fit_parts(
    training: SpectrumCounts, test: SpectrumCounts, spectra: NDArray[np.float64], *, threads: int = 1
) -> tuple[Maps, Maps]:
    """Share out two parts of thinned counts, both with the probabilities that the first one shows.

    Both are biased in the same way by noise. The second part is shared out by what the first one shows, so
    the two are independent but for that: between elements whose lines overlap some noise is common.

    Parameters
    ----------
    training, test : SpectrumCounts
    spectra, threads
        As for `fit_maps`.

    Returns
    -------
    training, test : ndarray of shape (n_spectra, n_views, ny, nx), float32
    """
    columns, share = _normalised(spectra)
    n = len(share)

    def both(view: ViewCounts) -> Maps:
        expected, own = _fitted(view, columns=columns, share=share, shape=training.shape)
        other = np.empty_like(own)
        second = test.views[places[id(view)]]
        assign_counts(second.start, second.channel, second.count, columns, expected, other)
        return np.concatenate([own, other], axis=1)

    places = {id(view): k for k, view in enumerate(training.views)}
    maps = training.as_maps(both, threads=threads)
    return maps[:n], maps[n:]


def parts_of(maps: Maps, training: Maps, test: Maps) -> tuple[Maps, Maps]:
    """Scale two parts of maps so that both together have the counts of the maps.

    Parameters
    ----------
    maps, training, test : ndarray of shape (n_maps, n_views, ny, nx), float32

    Returns
    -------
    training, test : ndarray of that shape, float32
        Each map of both by one factor: fits of fewer counts share them more evenly among the maps.
    """
    whole, first, second = (x.sum(axis=(1, 2, 3), dtype=np.float64) for x in (maps, training, test))
    both = first + second
    factors = np.divide(whole, both, out=np.ones(len(both)), where=both > 0).astype(np.float32)
    factors = factors[:, np.newaxis, np.newaxis, np.newaxis]
    return training * factors, test * factors


def _normalised(spectra: NDArray[np.float64]) -> tuple[Maps, Maps]:
    """Return the spectra (n_channels, n_spectra) with the sum 1, and their shares of the whole."""
    heights = spectra.sum(axis=1)
    columns = np.ascontiguousarray((spectra / heights[:, np.newaxis]).T, np.float32)
    return columns, (heights / heights.sum()).astype(np.float32)


def _fitted(
    view: ViewCounts, *, columns: Maps, share: Maps, shape: tuple[int, int, int, int]
) -> tuple[Maps, Maps]:
    """Return the expected counts in the surrounding of each pixel, and its own counts, (n_pixels, n)."""
    _, ny, nx, _ = shape
    n_pixels, n = ny * nx, len(share)
    mean = np.float32(max(view.count.sum(dtype=np.int64) / n_pixels, 1e-6))
    expected = np.tile(share * mean, (n_pixels, 1))
    own = np.empty((n_pixels, n), np.float32)
    for _ in range(STEPS):
        assign_counts(view.start, view.channel, view.count, columns, expected, own)
        expected, own = own, expected
        smooth_maps(expected.reshape(ny, nx, n), SMOOTHING)
    assign_counts(view.start, view.channel, view.count, columns, expected, own)
    return expected, own
