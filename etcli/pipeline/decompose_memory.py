"""Memory of a decomposition of spectrum images, estimated before the work."""

from collections.abc import Sequence
from math import ceil, prod

from etcli.core.errors import UsageError
from etcli.core.spectra.components import block_edge, n_blocks
from etcli.core.spectra.counts import WITH_PARTS, SpectrumCounts
from etcli.pipeline.session import Session

PARTS = 2
OF_FACTORISATION, OF_SEARCH = 5, 9
"""Arrays as large as the sums of blocks, float64, that a factorisation and the search for the number of
components hold."""

OF_BACKGROUND = 8
"""Numbers a pixel, float64, that the background of an edge takes."""
LINE_SPECTRA = 1000
"""Spectra of families of lines that are held when the sum of all spectra is fitted."""


def bytes_of_maps(counts: SpectrumCounts, n_maps: int, n_fitted: int = 0) -> int:
    """Estimate the memory of maps, their parts and the counts that they are made of.

    Parameters
    ----------
    counts : SpectrumCounts
    n_maps : int
        Maps that are written.
    n_fitted : int
        Spectra that are fitted, of which the maps are some; 0 where maps are sums.

    Returns
    -------
    int
        Bytes.
    """
    held = (1 + PARTS) * n_maps + PARTS * n_fitted + 1
    if n_fitted:  # all maps, before some of them are chosen
        held = max(held, n_maps + n_fitted)
    return 4 * held * prod(counts.shape[:3]) + _of_counts(counts)


def bytes_of_factorisation(counts: SpectrumCounts, *, searched: bool) -> int:
    """Estimate the memory of a factorisation, or of the search for the number of components."""
    n_channels = counts.shape[3]
    blocks = (
        8 * (OF_SEARCH if searched else OF_FACTORISATION) * n_channels * n_blocks(counts, block_edge(counts))
    )
    return blocks + _of_counts(counts)


def bytes_of_edges(shape: Sequence[int], n_maps: int) -> int:
    """Estimate the memory of maps of edges, beside the blocks of spectra that are read.

    Parameters
    ----------
    shape : sequence of int
        Numbers of views, rows, columns and channels.
    n_maps : int

    Returns
    -------
    int
        Bytes.
    """
    return (4 * (4 * n_maps + 1) + 8 * OF_BACKGROUND) * prod(shape[:3])


def _of_counts(counts: SpectrumCounts) -> int:
    """Return the memory of counts and their parts, and of the spectra of all elements."""
    return WITH_PARTS * counts.nbytes + 8 * LINE_SPECTRA * counts.shape[3]


def check_memory(session: Session, need: int, what: str = "the maps and the counts") -> None:
    """Raise UsageError where more memory is needed than is allowed."""
    if need > session.memory:
        raise UsageError(
            f"{what} take {ceil(need / (1 << 20))}M of memory, but only {session.memory >> 20}M are allowed; "
            "give a larger --memory, or bin or crop the spectrum images"
        )
