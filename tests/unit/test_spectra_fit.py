"""Fit of the summed spectrum, of which the true elements and the faults of the detector are known."""

import numpy as np
import pytest

from etcli.core.errors import DataError, UsageError
from etcli.core.spectra.detector import Detector
from etcli.core.spectra.sum_fit import SumFit, fit_sum
from tests.spectrum_images import AXIS, PERCENT, Imperfection, record

NAMED = ("Ti", "Fe", "Mo", "O")
ABSENT = ("Cr", "Mn", "V", "Co", "Ni", "Zn", "Al", "S", "Au")
FAULTS = {
    "none": Imperfection(),
    "wide": Imperfection(fwhm=1.05),
    "narrow": Imperfection(fwhm=0.95),
    "above": Imperfection(offset_keV=AXIS.step_keV),
    "below": Imperfection(offset_keV=-AXIS.step_keV),
    "sum peaks": Imperfection(sum_peaks=0.02),
    "escape": Imperfection(escape=2.0),
    "background up": Imperfection(background=0.2),
    "background down": Imperfection(background=-0.2),
    "all": Imperfection(1.05, AXIS.step_keV, 0.02, 2.0, 0.2),
}


def summed(fault: Imperfection, *, seed: int = 0) -> np.ndarray:
    return record(fault, seed=seed, size=12, counts=160.0).sum(axis=(0, 1, 2), dtype=np.float64)


def counts_of(fit: SumFit) -> dict[str, float]:
    """Counts of the elements that are there, relative to those of the strongest."""
    found = {one.element: n for one, n, t in zip(fit.elements, fit.counts, fit.is_there, strict=True) if t}
    return {element: n / max(found.values()) for element, n in found.items()}


@pytest.mark.parametrize("name", FAULTS)
def test_no_element_appears_that_is_not_there(name: str) -> None:
    fit = fit_sum(summed(FAULTS[name]), AXIS, (*NAMED, *ABSENT))
    found = counts_of(fit)
    assert {"Ti", "Fe", "Mo", "O", "Cu"} <= set(found)
    assert max((found.get(element, 0.0) for element in ABSENT), default=0.0) <= 0.03
    for element in NAMED:
        assert found[element] / found["Ti"] == pytest.approx(PERCENT[element] / PERCENT["Ti"], rel=0.05)
    assert fit.misfit < 1.4


@pytest.mark.parametrize("name", ["none", "above", "all"])
def test_elements_are_found_that_nobody_named(name: str) -> None:
    found = counts_of(fit_sum(summed(FAULTS[name]), AXIS, ()))
    assert {element for element, share in found.items() if share > 0.03} == set(PERCENT)


def test_offset_and_width_are_found() -> None:
    fit = fit_sum(summed(FAULTS["all"]), AXIS, NAMED)
    assert fit.axis.offset_keV == pytest.approx(AXIS.offset_keV - AXIS.step_keV, abs=2e-3)
    assert fit.detector.fwhm_keV == pytest.approx(1.05 * 0.130, rel=0.015)


def test_without_calibration_the_axis_stays() -> None:
    fit = fit_sum(summed(FAULTS["none"]), AXIS, NAMED, calibrate=False)
    assert (fit.axis, fit.detector.fwhm_keV) == (AXIS, 0.130)
    assert fit.misfit < 1.4


def test_the_standard_deviation_is_that_of_repeated_measurements() -> None:
    fits = [
        fit_sum(summed(FAULTS["none"], seed=seed), AXIS, NAMED, strays=("Cu",), calibrate=False)
        for seed in range(24)
    ]
    spread = np.std([fit.counts for fit in fits], axis=0, ddof=1)
    # the model's own uncertainty is in the standard deviation, not in the spread
    assert (spread / fits[0].sd > 0.5).all() and (spread / fits[0].sd < 1.4).all()


def test_an_element_beyond_the_axis() -> None:
    with pytest.raises(UsageError, match=r"He.*leave it out"):
        fit_sum(summed(FAULTS["none"]), AXIS, ("He",))


def test_no_counts() -> None:
    with pytest.raises(DataError, match="no counts"):
        fit_sum(np.zeros(AXIS.n), AXIS, NAMED)


def test_few_counts_leave_the_energy_axis_alone() -> None:
    few = np.random.default_rng(0).binomial(summed(FAULTS["above"]).astype(int), 2e-3).astype(np.float64)
    assert fit_sum(few, AXIS, NAMED, detector=Detector()).axis == AXIS
