"""The rim's level of real series, and of simulated ones by others."""

import pytest

from etcli.core.background import empty_rim_background
from etcli.io.mrc import open_mrc


def background(path):
    return empty_rim_background(open_mrc(path)[1])


def test_needle_stored_as_signed_integers(shared_data):
    assert background(shared_data / "etspy" / "needle_raw.mrc").level == pytest.approx(-31887, abs=2)


def test_needle_across_the_views_is_found_once_they_are_turned(shared_data):
    _, data = open_mrc(shared_data / "etspy" / "HAADF_fei_original.mrc")
    assert empty_rim_background(data).level is None
    assert empty_rim_background(data.swapaxes(1, 2)).level == pytest.approx(-31887, abs=2)


def test_simulated_catalyst_stands_on_nothing(shared_data):
    assert background(shared_data / "etspy" / "catalyst_180_bin2.mrc").level == 0


@pytest.mark.parametrize(("dose", "tail"), [("8p0e3", 0.02), ("1p6e4", 0.02), ("1p6e5", 0.08)])
def test_particle_stands_on_one_count(shared_data, dose, tail):
    level = background(shared_data / "aet" / f"NP1_aSi_208_dose{dose}" / "projections.mrc").level
    assert level == pytest.approx(1, abs=tail)  # atoms near the rim add some of their 274 counts


def test_film_enters_from_the_sides(shared_data):
    found = background(shared_data / "aet" / "Ta_film_area24" / "projections.mrc")
    assert found.level is None
    assert "uneven" in found.reason


@pytest.mark.parametrize("name", ["sto/sto_7k.mrc", "sto/sto_inf.mrc", "sio2si/sio2si_50k.mrc"])
def test_phase_contrast_is_no_dark_field(shared_data, name):
    assert background(shared_data / "phase" / name).level is None
