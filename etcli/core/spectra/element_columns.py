"""The known spectra by which single pixels are fitted, as the fit of the sum has found them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from etcli.core.spectra.pure_spectra import PureSpectrum, element_spectra
from etcli.core.spectra.sum_fit import SumFit
from etcli.core.spectra.windows import clearest_family

Doubles = NDArray[np.float64]

BACKGROUND, PILE_UP = "background", "sum peaks"
LEAST_PILE_UP = 1e-3
"""Share of the counts from which sum peaks have a column of their own."""


@dataclass(frozen=True, eq=False)
class Column:
    """Spectrum by which pixels are fitted.

    Parameters
    ----------
    name : str
        Element and family, or what it is.
    element, family : str
        Empty for what is no element.
    counts : ndarray of shape (n_channels,), float64
        Expected counts in the sum of all pixels.
    sensitivity : float
        Counts of an atom, up to a factor that all elements have in common.
    """

    name: str
    element: str
    family: str
    counts: Doubles
    sensitivity: float = 0.0


def columns_of(fit: SumFit, families: dict[str, str], *, beam_kV: float) -> list[Column]:
    """Return the spectra that are in the sum: those of elements, of the background and of sum peaks.

    Parameters
    ----------
    fit : SumFit
    families : dict of str to str
        Elements of which one family has a spectrum of its own, and the others together another one.
    beam_kV : float
        Accelerating voltage.

    Returns
    -------
    list of Column
        Elements that are not significant in the sum have none.
    """
    found = []
    for spectrum, counts, there in zip(fit.elements, fit.counts, fit.is_there, strict=True):
        if there:
            found += _of_element(fit, spectrum, counts, families.get(spectrum.element, ""), beam_kV)
    found.append(Column(BACKGROUND, "", "", fit.background))
    if fit.pile_up.sum() > LEAST_PILE_UP * fit.model.sum():
        found.append(Column(PILE_UP, "", "", fit.pile_up))
    return [column for column in found if column.counts[fit.used].sum() > 0]


def _of_element(
    fit: SumFit, spectrum: PureSpectrum, counts: float, family: str, beam_kV: float
) -> list[Column]:
    """Return the spectrum of an element, or those of one family and of the others."""
    families = element_spectra(spectrum.element, fit.axis, fit.detector, beam_kV=beam_kV)
    ratio, _ = nnls(np.stack([one.counts for one in families], axis=1), spectrum.counts)
    # the theory of the clearest family is the best; how much the others add to it was found
    own = [one.family for one in families].index(clearest_family(families).family)
    ratio = ratio / ratio[own] if ratio[own] > 0 else np.ones(len(ratio))
    parts = [
        (one.family, factor * one.counts) for one, factor in zip(families, ratio, strict=True) if factor > 0
    ]
    scale = counts / sum(part.sum() for _, part in parts)
    chosen = [(name, part) for name, part in parts if family in ("", name)]
    others = [(name, part) for name, part in parts if family not in ("", name)]
    return [
        Column(
            f"{spectrum.element} {'+'.join(name for name, _ in group)}",
            spectrum.element if group is chosen else "",
            "+".join(name for name, _ in group),
            scale * sum(part for _, part in group),
            float(sum(part.sum() for _, part in group)),
        )
        for group in (chosen, others)
        if group
    ]
