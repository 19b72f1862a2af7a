"""Elements whose lines are left over when the elements that are known have been fitted."""

from contextlib import suppress
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from etcli.core.elements import SYMBOLS
from etcli.core.errors import UsageError
from etcli.core.spectra.detector import Detector, EnergyAxis
from etcli.core.spectra.pure_spectra import PureSpectrum, element_spectra
from etcli.core.spectra.sum_search import SumSearch, extreme_ratios
from etcli.core.spectra.table_errors import left_by_tables
from etcli.core.spectra.x_ray_lines import LOWEST_keV

Doubles = NDArray[np.float64]

CANDIDATES = tuple(
    symbol for symbol in SYMBOLS[4:93] if symbol not in ("Ne", "Kr", "Xe", "Tc", "Pm", *SYMBOLS[84:90])
)
"""Elements that are looked for: from beryllium to uranium, without inert and short-lived ones."""
LEAST_GAIN = 60.0
"""Decrease of chi squared from which a line is no accident, with an allowance for errors of the model."""
LEAST_SHARE = 0.002
"""Share of the counts that an element must have; sum peaks and edges of the background leave less."""
TABLE_DEVIATIONS = 1.5
"""Standard deviations of tabulated lines of known elements that an element must explain more than."""
FINALISTS = 6


def most_likely_element(
    search: SumSearch, parameters: Doubles, *, lowest_keV: float = LOWEST_keV
) -> str | None:
    """Find the element that explains most of what is left over.

    All elements are compared by one family of lines; for the best ones the whole sum is fitted again, with
    all their families, so that an L line is not taken for that of an element whose K lines are missing.

    Parameters
    ----------
    search : SumSearch
    parameters : ndarray of shape (4,), float64
        Energy axis and detector, as `search` describes them.
    lowest_keV : float
        Energy from which lines count.

    Returns
    -------
    str or None
        None where nothing significant is left over.
    """
    axis, detector = search.instrument(parameters)
    rays, columns = search.design(parameters)
    weight = search.weight * search.used * (axis.energy_keV >= lowest_keV)
    heights = search.heights(columns, weight)
    left = (search.observed - heights @ columns) * weight
    known = {*search.elements, *search.strays}
    candidates = _candidates(axis, detector, search.beam_kV)
    families = [own for own in candidates if own[0].element not in known]
    trials = np.stack([one.counts / one.strength for own in families for one in own])
    basis = np.linalg.qr((columns[heights > 0] * weight).T)[0]
    across = trials * weight
    across -= (across @ basis) @ basis.T
    norm = np.linalg.norm(across, axis=1)
    gain = np.maximum(across @ left, 0) ** 2 / np.maximum(norm, 1e-12) ** 2
    errors = left_by_tables(rays, heights[: len(rays)], axis, detector, beam_kV=search.beam_kV)
    faked = ((across @ (errors * weight).T) ** 2).sum(axis=1) / np.maximum(norm, 1e-12) ** 2
    faked *= TABLE_DEVIATIONS**2
    gain -= faked
    owner = np.repeat(np.arange(len(families)), [len(own) for own in families])
    clearest = [np.flatnonzero(owner == k)[gain[owner == k].argmax()] for k in range(len(families))]
    misfit, chosen = float(left @ left) - LEAST_GAIN, None
    least = LEAST_SHARE * search.observed[search.used].sum()
    for k in np.argsort(-gain[clearest])[:FINALISTS]:
        trial = np.stack([ray.counts / ray.strength for ray in extreme_ratios(families[k])])
        more = np.concatenate([columns, trial])
        found = search.heights(more, weight)
        value = float((((search.observed - found @ more) * weight) ** 2).sum()) + faked[clearest[k]]
        if value < misfit and found[len(columns) :].sum() > least:
            misfit, chosen = value, families[k][0].element
    return chosen


@lru_cache(maxsize=4)
def _candidates(axis: EnergyAxis, detector: Detector, beam_kV: float) -> list[list[PureSpectrum]]:
    """Return the families of lines of all elements that have some within the axis."""
    found = []
    for symbol in CANDIDATES:
        with suppress(UsageError):  # no lines below the energy of the beam
            found.append(element_spectra(symbol, axis, detector, beam_kV=beam_kV))
    return [families for families in found if families]
