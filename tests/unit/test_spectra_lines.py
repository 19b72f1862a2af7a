"""X-ray lines and the detector, against tables that others measured and closed forms."""

import numpy as np
import pytest

from etcli.core.errors import DataError, UsageError
from etcli.core.spectra.detector import FWHM_PER_SIGMA, Detector, EnergyAxis, escape_share
from etcli.core.spectra.line_table import LINE_TABLE
from etcli.core.spectra.pure_spectra import bremsstrahlung, element_spectra, joined
from etcli.core.spectra.x_ray_lines import subshells, x_ray_lines

AXIS = EnergyAxis(0.005, 0.01, 2048)


# J. A. Bearden, Rev. Mod. Phys. 39, 78 (1967), in keV
@pytest.mark.parametrize(
    ("element", "line", "energy_keV"),
    [
        ("O", "Ka1", 0.5249), ("Si", "Ka1", 1.73998), ("Cr", "Ka1", 5.41472), ("Mn", "Ka1", 5.89875),
        ("Co", "Ka1", 6.93032), ("Co", "Kb1", 7.64943), ("Ni", "Ka1", 7.47815), ("Cu", "Ka1", 8.04778),
        ("Mo", "Ka1", 17.47934), ("Ag", "La1", 2.98431), ("Pt", "La1", 9.4423), ("Pt", "Ma", 2.0505),
        ("Au", "La1", 9.7133), ("Au", "Ma", 2.1229), ("Zr", "La1", 2.04236),
    ],
)  # fmt: skip
def test_energies_are_those_measured(element: str, line: str, energy_keV: float) -> None:
    found = {one.name: one.energy_keV for one in x_ray_lines(element)}
    assert found[line] == pytest.approx(energy_keV, abs=6e-3)  # M lines of the table are 5 eV off


def test_shares_and_yields() -> None:
    nickel = {shell.name: shell for shell in subshells("Ni")}
    assert nickel["K"].edge_keV == pytest.approx(8.333, abs=2e-3)
    # M. O. Krause, J. Phys. Chem. Ref. Data 8, 307 (1979)
    assert nickel["K"].fluorescence_yield == pytest.approx(0.406, rel=0.03)
    share = {name: part for name, _, part in nickel["K"].lines}
    assert sum(share.values()) == pytest.approx(1, abs=0.01)
    # Kβ/Kα of nickel: J. H. Scofield, Phys. Rev. A 9, 1041 (1974): 0.139 with exchange
    assert (share["Kb1"] + share["Kb3"]) / (share["Ka1"] + share["Ka2"]) == pytest.approx(0.139, abs=0.01)


def test_all_rows_of_the_table_are_whole() -> None:
    elements = [word[:-1] for word in LINE_TABLE.split() if word.endswith(":")]
    assert len(elements) == len(set(elements)) == 95
    for element in elements:
        for shell in subshells(element):
            assert 0 < shell.fluorescence_yield < 1
            if shell.name == "K" and shell.edge_keV < 45:
                assert sum(share for _, _, share in shell.lines) == pytest.approx(1, abs=0.02)
            assert all(0.05 < energy_keV < shell.edge_keV + 0.01 for _, energy_keV, _ in shell.lines)


@pytest.mark.parametrize("element", ["Xx", "ni", "X", ""])
def test_no_element(element: str) -> None:
    with pytest.raises(UsageError, match="no element"):
        x_ray_lines(element)


def test_an_element_without_lines() -> None:
    with pytest.raises(UsageError, match="no X-ray lines"):
        x_ray_lines("H")


def test_width_and_place_of_a_line() -> None:
    detector = Detector(0.130, window_keV=0.01)
    for energy_keV in (0.525, 5.895, 17.48):
        counts = detector.response(AXIS, [energy_keV], [1000.0])
        assert counts.sum() == pytest.approx(1000, rel=1e-6)
        mean = counts @ AXIS.energy_keV / counts.sum()
        # without the variance of a place within a channel
        sd = np.sqrt(counts @ (AXIS.energy_keV - mean) ** 2 / counts.sum() - AXIS.step_keV**2 / 12)
        assert mean == pytest.approx(energy_keV, abs=1e-4)
        fwhm_eV = np.sqrt(130**2 + 2.5 * (1e3 * energy_keV - 5895))
        assert sd * FWHM_PER_SIGMA == pytest.approx(1e-3 * fwhm_eV, rel=3e-3)


def test_escape_peaks_lie_a_silicon_photon_lower_and_keep_the_counts() -> None:
    counts = Detector(escape=1.0).response(AXIS, [7.48], [1e5])
    assert counts.sum() == pytest.approx(1e5, rel=1e-9)
    low = AXIS.energy_keV < 6.5
    assert AXIS.energy_keV[low] @ counts[low] / counts[low].sum() == pytest.approx(7.48 - 1.74, abs=1e-3)
    assert counts[low].sum() / 1e5 == pytest.approx(float(escape_share(7.48)))
    # S. J. B. Reed, N. G. Ware (1972), figure 2: 1.4 % for P K, .5 % for Mn K is the order of magnitude
    assert 0.01 < escape_share(2.0) < 0.016
    assert 0.001 < escape_share(5.9) < 0.006
    assert escape_share(1.7) == 0


def test_families_of_an_element_are_apart_and_can_be_joined() -> None:
    found = element_spectra("Pt", AXIS, Detector())
    assert [one.name for one in found] == ["Pt L", "Pt M"]
    assert [one.main.name for one in found] == ["La1", "Mb"] or found[1].main.name == "Ma"
    both = joined(found, np.array([1.0, 2.0]))
    assert both.family == "L+M"
    assert np.allclose(both.counts, found[0].counts + 2 * found[1].counts)
    narrow = EnergyAxis(0.005, 0.01, 400)
    assert [one.family for one in element_spectra("Ni", narrow, Detector())] == ["L"]


def test_bremsstrahlung_falls_with_energy_and_is_cut_by_the_window() -> None:
    shape = bremsstrahlung(AXIS, Detector(window_keV=0.3), beam_kV=200.0)
    assert shape.sum() == pytest.approx(1)
    five, ten = shape[499], shape[999]
    assert five / ten == pytest.approx((200 - 4.995) / (200 - 9.995) * 9.995 / 4.995, rel=1e-3)
    assert shape[10] < 1e-3 * shape.max()


@pytest.mark.parametrize("given", [(0.0, 0.0, 100), (0.0, -0.01, 100), (np.nan, 0.01, 100), (0.0, 0.01, 3)])
def test_no_energy_axis(given: tuple[float, float, int]) -> None:
    with pytest.raises(DataError, match="no energy axis"):
        EnergyAxis(*given)
