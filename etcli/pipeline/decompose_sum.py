"""Fit of the sum of all spectra, and what is told about it: elements there, absent, or forgotten."""

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import UsageError
from etcli.core.spectra.detector import Detector
from etcli.core.spectra.left_over import elements_left_over, worst_deviation
from etcli.core.spectra.pure_spectra import element_spectra
from etcli.core.spectra.sum_fit import SumFit, fit_sum
from etcli.pipeline.decompose_request import DecomposeRequest
from etcli.pipeline.session import Session
from etcli.pipeline.spectrum_inputs import SpectrumSeries

USUAL_BEAM_kV, USUAL_FWHM_keV = 200.0, 0.130


def beam_of(series: SpectrumSeries, request: DecomposeRequest) -> float:
    """Return the accelerating voltage in kV: that of the request, of the file, or the usual one."""
    return request.beam_kV or series.files[0].beam_kV or USUAL_BEAM_kV


def fit_of_sum(
    session: Session,
    series: SpectrumSeries,
    observed: NDArray[np.float64],
    request: DecomposeRequest,
    method: str,
) -> SumFit:
    """Fit the sum of all spectra, and tell what is there and what is not.

    Parameters
    ----------
    session : Session
    series : SpectrumSeries
    observed : ndarray of shape (n_channels,), float64
        The sum.
    request : DecomposeRequest
    method : {"fit", "windows"}
        How the maps are made afterwards.

    Returns
    -------
    SumFit

    Raises
    ------
    UsageError
        When no element is seen and none is named, or a named family has no lines.
    """
    given_keV = 1e-3 * request.fwhm_eV if request.fwhm_eV else series.files[0].fwhm_keV
    beam_kV, report = beam_of(series, request), session.reporter
    fit = fit_sum(
        observed,
        series.energy,
        [one.symbol for one in request.named],
        strays=request.strays,
        detector=Detector(given_keV or USUAL_FWHM_keV),
        beam_kV=beam_kV,
        calibrate=request.calibrate,
    )
    report.note(
        f"energy axis from {fit.axis.offset_keV:.4f} keV in steps of {1e3 * fit.axis.step_keV:.3f} eV, FWHM "
        f"{1e3 * fit.detector.fwhm_keV:.1f} eV at Mn Kα, misfit {fit.misfit:.2f}"
    )
    there = [one.element for one, is_there in zip(fit.elements, fit.is_there, strict=True) if is_there]
    if request.elements is None:
        report.report(f"elements that the sum of all spectra shows: {', '.join(there) or 'none'}")
        if not there:
            raise UsageError("the sum of all spectra shows no element; name those to map with --elements")
    _tell_of_named(session, fit, request, method, beam_kV)
    unnamed = [one.element for one in fit.elements[fit.n_named :] if one.element in there]
    if request.elements is not None and unnamed and request.strays is None:
        report.report(f"lines of {', '.join(unnamed)} are there, too: {_TREATMENT[method]}")
    _tell_of_misfit(session, fit, request, beam_kV)
    return fit


_TREATMENT = {
    "fit": "they are fitted, so that they do not count for the named elements, but not written",
    "windows": "where they lie in a window they count for its element, which --method fit tells apart",
}
_EMPTY = {"fit": "its map is empty", "windows": "its map is noise"}


def _tell_of_named(
    session: Session, fit: SumFit, request: DecomposeRequest, method: str, beam_kV: float
) -> None:
    """Warn of named elements that are not in the sum; raise UsageError for families without lines."""
    of_fit = zip(fit.elements, fit.counts, fit.sd, fit.is_there, strict=True)
    found = {one.element: numbers for one, *numbers in of_fit}
    for element in request.named:
        families = element_spectra(element.symbol, fit.axis, fit.detector, beam_kV=beam_kV)
        if element.family and element.family not in (names := [one.family for one in families]):
            raise UsageError(
                f"{element.symbol} has no {element.family} lines within the energy axis; take "
                f"{' or '.join(f'{element.symbol}_{name}' for name in names)}"
            )
        counts, sd, is_there = found[element.symbol]
        if not is_there:
            session.reporter.warn(
                f"{element.symbol} is named but not seen in the sum of all spectra ({counts:.0f} ± {sd:.0f} "
                f"counts): {_EMPTY[method]}"
            )


def _tell_of_misfit(session: Session, fit: SumFit, request: DecomposeRequest, beam_kV: float) -> None:
    """Warn where the fit leaves lines over, or does not follow the sum."""
    forgotten = elements_left_over(fit, beam_kV=beam_kV) if request.strays is not None else ()
    if forgotten:
        both = ",".join((*(request.strays or ()), *forgotten))
        session.reporter.warn(
            f"the sum of all spectra also shows lines of {', '.join(forgotten)}, which count for the other "
            f"elements; give --strays {both}, or leave --strays out"
        )
    elif deviation := worst_deviation(fit):
        energy_keV, share = deviation
        session.reporter.warn(
            f"the elements do not explain the sum of all spectra: {abs(share):.0%} too "
            f"{'many' if share > 0 else 'few'} counts near {energy_keV:.2f} keV; check the energy axis and "
            "--fwhm, or name more elements"
        )
