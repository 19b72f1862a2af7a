"""Spectra of few counts: only channels that have some are kept; two independent parts by thinning."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import DataError
from etcli.core.parallel import ordered_map
from etcli.core.spectra._counts_kernels import (
    add_to_blocks,
    filled_channels,
    keep_counts,
    thin_counts,
    weighted_sums,
)

Doubles = NDArray[np.float64]
Maps = NDArray[np.float32]
BYTES_PER_COUNT = 4
"""Memory for a channel that has counts: its number and these."""
WITH_PARTS = 2
"""Memory of counts and their two parts, relative to that of the counts alone."""


@dataclass(frozen=True, eq=False)
class ViewCounts:
    """Counts of the spectra of one view.

    Parameters
    ----------
    start : ndarray of shape (n_pixels + 1,), int64
        Where the channels of each pixel begin in the other arrays.
    channel, count : ndarray of uint16
    """

    start: NDArray[np.int64]
    channel: NDArray[np.uint16]
    count: NDArray[np.uint16]

    @classmethod
    def of(cls, spectra: NDArray[Any], *, where: str) -> "ViewCounts":
        """Keep the channels with counts of spectra (n_pixels, n_channels).

        Raises
        ------
        DataError
            When values are no counts: negative, fractional, above 65535, or not finite.
        """
        filled = np.empty(len(spectra), np.int64)
        wrong = filled_channels(spectra, filled)
        if wrong:
            raise DataError(f"{where}: {_what_is_wrong(spectra)}; give the counts as they were recorded")
        start = np.concatenate([[0], np.cumsum(filled)])
        channel, count = np.empty(start[-1], np.uint16), np.empty(start[-1], np.uint16)
        keep_counts(spectra, start, channel, count)
        return cls(start, channel, count)

    @classmethod
    def joined(cls, parts: Sequence["ViewCounts"]) -> "ViewCounts":
        """Join the counts of blocks of rows."""
        if len(parts) == 1:
            return parts[0]
        ends = np.cumsum([0, *(len(part.count) for part in parts)])
        start = [part.start[:-1] + end for part, end in zip(parts, ends[:-1], strict=True)]
        return cls(
            np.concatenate([*start, ends[-1:]]),
            np.concatenate([part.channel for part in parts]),
            np.concatenate([part.count for part in parts]),
        )


@dataclass(frozen=True, eq=False)
class SpectrumCounts:
    """Counts of the spectra of all views.

    Parameters
    ----------
    views : tuple of ViewCounts
    shape : tuple of int
        Numbers of views, rows, columns and channels.
    """

    views: tuple[ViewCounts, ...]
    shape: tuple[int, int, int, int]

    @classmethod
    def of(cls, spectra: NDArray[Any], *, name: str = "spectra") -> "SpectrumCounts":
        """Keep the counts of an array (views, rows, columns, channels); raise DataError for other values."""
        if spectra.ndim != 4:
            raise DataError(f"{name}: need the shape (views, rows, columns, channels), not {spectra.shape}")
        n_views, ny, nx, n_channels = spectra.shape
        flat = spectra.reshape(n_views, ny * nx, n_channels)
        views = tuple(ViewCounts.of(view, where=f"{name}: view {k + 1}") for k, view in enumerate(flat))
        return cls(views, (n_views, ny, nx, n_channels))

    @property
    def nbytes(self) -> int:
        """Memory in bytes."""
        return sum(BYTES_PER_COUNT * len(view.count) + view.start.nbytes for view in self.views)

    @property
    def total(self) -> int:
        """All counts."""
        return sum(int(view.count.sum(dtype=np.int64)) for view in self.views)

    def sum_spectrum(self) -> Doubles:
        """Sum the spectra of all pixels and views, (n_channels,)."""
        total = np.zeros(self.shape[3])
        for view in self.views:
            total += np.bincount(view.channel, view.count, minlength=len(total))
        return total

    def sums(self, weights: NDArray[Any], *, threads: int = 1) -> Maps:
        """Sum the counts of each spectrum with weights of the channels.

        Parameters
        ----------
        weights : ndarray of shape (n_channels, n_maps)
        threads : int

        Returns
        -------
        ndarray of shape (n_maps, n_views, ny, nx), float32
        """
        matrix = np.ascontiguousarray(weights, np.float32)

        def of_view(view: ViewCounts) -> Maps:
            maps = np.empty((len(view.start) - 1, matrix.shape[1]), np.float32)
            weighted_sums(view.start, view.channel, view.count, matrix, maps)
            return maps

        return self.as_maps(of_view, threads=threads)

    def as_maps(self, of_view: Callable[[ViewCounts], Maps], *, threads: int = 1) -> Maps:
        """Return what a function makes of each view, (n_pixels, n_maps), as (n_maps, n_views, ny, nx)."""
        n_views, ny, nx, _ = self.shape
        maps = np.empty((0, n_views, ny, nx), np.float32)
        for k, found in enumerate(ordered_map(of_view, self.views, threads=threads)):
            if k == 0:
                maps = np.empty((found.shape[1], n_views, ny, nx), np.float32)
            maps[:, k] = found.T.reshape(-1, ny, nx)
        return maps

    def block_sums(self, edge_px: int, *, most: int | None = None) -> NDArray[np.int64]:
        """Sum the spectra over squares of pixels in every view.

        Parameters
        ----------
        edge_px : int
            Edge of the squares; those at the borders may be smaller.
        most : int, optional
            Largest number of squares, evenly chosen where there are more; by default all.

        Returns
        -------
        ndarray of shape (n_blocks, n_channels), int64
        """
        n_views, ny, nx, n_channels = self.shape
        rows, columns = np.arange(ny) // edge_px, np.arange(nx) // edge_px
        across = int(columns[-1]) + 1
        block = (rows[:, np.newaxis] * across + columns).ravel()
        n_blocks = across * (int(rows[-1]) + 1)
        of_all = n_views * n_blocks
        chosen = np.linspace(0, of_all - 1, min(of_all, most or of_all)).round().astype(np.int64)
        row = np.full(of_all, -1)
        row[chosen] = np.arange(len(chosen))
        sums = np.zeros((len(chosen), n_channels), np.int64)
        for view, own in zip(self.views, row.reshape(n_views, n_blocks), strict=True):
            add_to_blocks(view.start, view.channel, view.count, own[block], sums)
        return sums

    def thinned(self, probability: float, *, seed: int = 0) -> tuple["SpectrumCounts", "SpectrumCounts"]:
        """Split the counts at random into two parts, which are independent Poisson variables.

        Parameters
        ----------
        probability : float
            That a photon belongs to the first part.
        seed : int

        Returns
        -------
        first, second : SpectrumCounts
            Their sum is the whole. The same seed gives the same parts, whatever the threads.

        References
        ----------
        The thinning of Poisson counts: A. Neufeld et al., J. Mach. Learn. Res. 25, 1 (2024).
        """
        n_channels, first, rest = self.shape[3], [], []
        n_pixels = self.shape[1] * self.shape[2]
        for k, view in enumerate(self.views):
            kept = np.empty_like(view.count)
            place = k * n_pixels
            thin_counts(view.start, view.channel, view.count, probability, seed, place, n_channels, kept)
            first.append(replace(view, count=kept))
            rest.append(replace(view, count=view.count - kept))
        return replace(self, views=tuple(first)), replace(self, views=tuple(rest))


def _what_is_wrong(spectra: NDArray[Any]) -> str:
    """Say what values that are no counts are, and the first of them."""
    values = spectra[spectra != 0]
    if not np.isfinite(values).all():
        return "NaN or infinite values among the counts"
    if (values < 0).any():
        return f"negative values among the counts, such as {values[values < 0][0]:g}"
    fractional = values[values != np.floor(values)]
    if fractional.size:
        return f"fractional values among the counts, such as {fractional[0]:g}"
    return f"{values.max():g} counts in a channel, more than 65535"
