"""What a fit of the summed spectrum leaves over."""

import pytest

from etcli.core.spectra.detector import EnergyAxis
from etcli.core.spectra.left_over import elements_left_over, worst_deviation
from etcli.core.spectra.sum_fit import fit_sum
from tests.spectrum_images import AXIS
from tests.unit.test_spectra_fit import FAULTS, summed


@pytest.mark.parametrize("missing", ["Cu", "Mo", "Ti"])
def test_a_missing_element_is_named(missing: str) -> None:
    known = [element for element in ("Ti", "Fe", "Mo", "O", "Cu") if element != missing]
    fit = fit_sum(summed(FAULTS["none"]), AXIS, known[:2], strays=known[2:])
    assert elements_left_over(fit)[0] == missing


@pytest.mark.parametrize("name", ["none", "all"])
def test_nothing_is_left_over_when_all_are_known(name: str) -> None:
    fit = fit_sum(summed(FAULTS[name]), AXIS, ("Ti", "Fe"), strays=("Mo", "O", "Cu"))
    assert not elements_left_over(fit)
    assert worst_deviation(fit) is None


def test_the_place_of_the_worst_deviation() -> None:
    fit = fit_sum(summed(FAULTS["none"]), AXIS, ("Ti", "Mo", "O", "Cu"), strays=(), calibrate=False)
    energy_keV, share = worst_deviation(fit) or (0.0, 0.0)
    assert energy_keV == pytest.approx(6.40, abs=0.06)  # Fe Kα
    assert share > 0.5


def test_a_wrong_energy_axis_is_a_deviation() -> None:
    stretched = EnergyAxis(AXIS.offset_keV, 0.97 * AXIS.step_keV, AXIS.n)
    fit = fit_sum(summed(FAULTS["none"]), stretched, ("Ti", "Fe"), strays=("Mo", "O", "Cu"), calibrate=False)
    assert worst_deviation(fit) is not None
