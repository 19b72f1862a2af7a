"""Fit of the sum of all spectra: energy scale, width of lines, background, and how much of each element.

The sum has so many counts that it shows what single pixels cannot: the offset and gain of the energy axis,
the resolution, the ratio of the families of lines of an element, the shape of the background, escape and sum
peaks, and lines of elements that nobody has named.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import DataError
from etcli.core.spectra.detector import Detector, EnergyAxis
from etcli.core.spectra.pure_spectra import PureSpectrum, joined
from etcli.core.spectra.sum_search import SumSearch
from etcli.core.spectra.unnamed_elements import most_likely_element
from etcli.core.spectra.windows import CLEAR_keV
from etcli.core.spectra.x_ray_lines import LOWEST_keV

Doubles = NDArray[np.float64]

LEAST_COUNTS = 1000
"""Counts of a sum below which its energy axis is not calibrated."""
SIGNIFICANT = 4.0
"""Standard deviations from which an element is taken to be there."""
GOOD_MISFIT = 3.0
"""Chi squared over channels up to which no other start of the search is tried."""
MOST_STRAYS = 8
"""Elements that are looked for beside those that are named."""


@dataclass(frozen=True, eq=False)
class SumFit:
    """Sum of all spectra, explained.

    Parameters
    ----------
    observed : ndarray of shape (n_channels,), float64
        Counts of the sum.
    axis : EnergyAxis
        Calibrated.
    detector : Detector
        Fitted.
    elements : tuple of PureSpectrum
        One for each element, its families in the ratio that was found; those that were named come first.
    counts, sd : ndarray of shape (n_elements,), float64
        Counts of each element in the sum, and their standard deviations.
    background : ndarray of shape (n_channels,), float64
        Expected counts of the background.
    pile_up : ndarray of shape (n_channels,), float64
        Expected counts of pairs of photons that are counted as one.
    n_named : int
        How many of the elements were named; the others are strays.
    """

    observed: Doubles
    axis: EnergyAxis
    detector: Detector
    elements: tuple[PureSpectrum, ...]
    counts: Doubles
    sd: Doubles
    background: Doubles
    pile_up: Doubles
    n_named: int

    @cached_property
    def used(self) -> NDArray[np.bool_]:
        """The channels that are fitted: those above the noise of the detector."""
        return self.axis.energy_keV >= LOWEST_keV

    @property
    def model(self) -> Doubles:
        """Expected counts of the sum."""
        shapes = np.stack([one.counts / one.strength for one in self.elements])
        return np.asarray(self.counts @ shapes + self.background + self.pile_up)

    @property
    def is_there(self) -> NDArray[np.bool_]:
        """Whether each element is significant in the sum."""
        return self.counts > SIGNIFICANT * self.sd

    @property
    def misfit(self) -> float:
        """Pearson's chi squared over the number of fitted channels."""
        model = np.maximum(self.model[self.used], 1.0)
        return float(((self.observed[self.used] - model) ** 2 / model).mean())


def fit_sum(
    observed: Doubles,
    axis: EnergyAxis,
    elements: Sequence[str],
    *,
    strays: Sequence[str] | None = None,
    detector: Detector | None = None,
    beam_kV: float = 200.0,
    calibrate: bool = True,
) -> SumFit:
    """Fit the sum of all spectra by elements and background, and calibrate the energy axis.

    Weighted least squares with positive heights, for each energy axis and width of lines that the search
    tries (variable projection). These stay near what is given where the sum does not tell.

    Parameters
    ----------
    observed : ndarray of shape (n_channels,), float64
        Counts.
    axis : EnergyAxis
        As the file states it.
    elements : sequence of str
    strays : sequence of str, optional
        Other elements that are counted, such as copper of a grid; by default those that the sum shows.
    detector : Detector, optional
    beam_kV : float
        Accelerating voltage.
    calibrate : bool
        Whether offset, gain and width are fitted.

    Returns
    -------
    SumFit

    Raises
    ------
    DataError
        When there are no counts.
    UsageError
        When an element has no lines within the energy axis.
    """
    search = SumSearch(observed, axis, detector or Detector(), tuple(elements), tuple(strays or ()), beam_kV)
    if not observed[search.used].sum() > 0:
        raise DataError(f"no counts above {LOWEST_keV:g} keV in any spectrum; check the energy axis")
    calibrate = calibrate and float(observed.sum()) >= LEAST_COUNTS
    if strays is not None:
        return _result(search, search.calibrated(np.zeros(4)) if calibrate else np.zeros(4))
    # the energy axis that the named elements show helps to find others, unless these are the strongest
    firsts = [True, False] if calibrate and search.elements else [False]
    found: list[SumFit] = []
    for first in firsts:
        if not found or found[0].misfit > GOOD_MISFIT:
            found.append(_with_strays(search, calibrate=calibrate, first=first))
    return min(found, key=lambda fit: fit.misfit)


def _with_strays(search: SumSearch, *, calibrate: bool, first: bool) -> SumFit:
    """Fit the sum by elements that are named and others that it shows.

    Parameters
    ----------
    search : SumSearch
    calibrate : bool
        Whether the energy axis and the width of lines are fitted.
    first : bool
        Whether they are fitted before others are looked for, too.

    Returns
    -------
    SumFit
    """
    search.strays = ()
    search.pile_up = np.zeros_like(search.pile_up)
    parameters = search.calibrated(np.zeros(4)) if first else np.zeros(4)
    for _ in range(2):
        _add_strays(search, parameters)
        if calibrate:
            parameters = search.calibrated(parameters)
        fit = _result(search, parameters)
        strays = zip(fit.elements[fit.n_named :], fit.is_there[fit.n_named :], strict=True)
        search.strays = tuple(one.element for one, there in strays if there)
    return _result(search, parameters)


def _add_strays(search: SumSearch, parameters: Doubles) -> None:
    """Add the elements that the sum shows beside those of the search.

    Lines above 1 keV come first, as they are apart. An element that was added while others were missing may
    stand for these, so each is then tried again.
    """
    for lowest_keV in (CLEAR_keV, LOWEST_keV):
        while len(search.strays) < MOST_STRAYS:
            element = most_likely_element(search, parameters, lowest_keV=lowest_keV)
            if element is None:
                break
            search.strays = (*search.strays, element)
    for _ in range(2):
        before = search.strays
        for stray in before:
            search.strays = tuple(other for other in search.strays if other != stray)
            element = most_likely_element(search, parameters)
            search.strays = (*search.strays, element) if element else search.strays
        if set(search.strays) == set(before):
            return


def _result(search: SumSearch, parameters: Doubles) -> SumFit:
    """Return what was found, an element as one spectrum."""
    axis, detector = search.instrument(parameters)
    rays, columns = search.design(parameters)
    heights = search.heights(columns)
    own, background = heights[: len(rays)], heights[len(rays) : -1] @ columns[len(rays) : -1]
    whole = []
    for families in search.spectra(parameters):
        mine = [k for k, ray in enumerate(rays) if ray.element == families[0].element]
        if own[mine].sum() > 0:
            spectrum = joined([rays[k] for k in mine], own[mine] / [rays[k].strength for k in mine])
        else:
            spectrum = joined(families, np.ones(len(families)))
        whole.append(spectrum)
    counts, sd = _counted(search, whole, columns[len(rays) :])
    return SumFit(
        search.observed,
        axis,
        detector,
        tuple(whole),
        counts,
        sd,
        background,
        heights[-1] * columns[-1],
        len(search.elements),
    )


def _counted(search: SumSearch, whole: list[PureSpectrum], others: Doubles) -> tuple[Doubles, Doubles]:
    """Return the counts of the elements, each as one spectrum, and their standard deviations."""
    columns = np.stack([*(one.counts / one.strength for one in whole), *others])
    counts = search.heights(columns)
    weighted = columns * (search.weight * search.used)
    covariance = np.linalg.pinv(weighted @ weighted.T, hermitian=True)
    sd = np.sqrt(np.maximum(np.diag(covariance), 0))
    return counts[: len(whole)], sd[: len(whole)]
