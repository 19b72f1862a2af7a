"""Focal series of columns, against the library by hand and the laws of imaging."""

import numpy as np
import pytest
from numpy.typing import NDArray

from etcli.core.depth.atom_columns import AtomColumns
from etcli.core.depth.focal_library import FocalLibrary
from etcli.core.depth.focal_optics import ColumnKind, FocalOptics
from etcli.core.errors import UsageError
from etcli.core.simulate.focal import FocalTruth, column_libraries, columns_px, defocus_range, focal_series

OPTICS = FocalOptics()
SHAPE, PIXEL_A = (40, 44), 0.5
FOCUS_A = np.array([30.0, 0.0, -30.0])


def columns(
    position: list[list[float]],
    count: list[int],
    depth: list[float],
    spacing: list[float],
    element: list[str] | None = None,
) -> AtomColumns:
    symbols = np.array(element or ["Au"] * len(count))
    return AtomColumns(np.array(position), np.array(count), np.array(depth), np.array(spacing), symbols)


PAIR = columns([[-2.3, 1.1], [1.4, -0.6]], [2, 1], [6.0, -4.0], [4.08, np.nan])


@pytest.fixture(scope="module")
def libraries() -> list[FocalLibrary]:
    return column_libraries(PAIR, OPTICS, debye_waller_A2=0.63, focus_A=FOCUS_A)


def series(
    libraries: list[FocalLibrary], *, drift_px: float = 0.0, dose: float | None = None, seed: int = 1
) -> tuple[NDArray[np.float32], FocalTruth]:
    return focal_series(
        PAIR,
        libraries,
        focus_A=FOCUS_A,
        shape=SHAPE,
        pixel_A=PIXEL_A,
        drift_px=drift_px,
        dose_e_A2=dose,
        rng=np.random.default_rng(seed),
    )


def by_hand(libraries: list[FocalLibrary], shift_px: NDArray[np.float64]) -> NDArray[np.float64]:
    """Two columns, pixel by pixel, from the radial profiles of the library."""
    total = np.zeros((len(FOCUS_A), *SHAPE))
    for k, focus in enumerate(FOCUS_A):
        row, column = np.indices(SHAPE)
        x = (column - 21.5 - shift_px[k, 0]) * PIXEL_A
        y = (row - 19.5 - shift_px[k, 1]) * PIXEL_A
        for (cx, cy), n, z in zip(PAIR.position_A, PAIR.count, PAIR.depth_A, strict=True):
            radius = np.hypot(x - cx, y - cy)
            total[k] += libraries[0].at(int(n), np.full(SHAPE, focus - z), radius)
    return total


def test_two_columns_by_hand(libraries: list[FocalLibrary]) -> None:
    assert libraries[0] is libraries[1] and libraries[0].most_atoms == 2
    data, truth = series(libraries)
    expected = by_hand(libraries, np.zeros((3, 2)))
    assert data.dtype == np.float32 and truth.electrons_per_unit is None
    np.testing.assert_allclose(data, expected, atol=0.002 * expected.max())
    assert truth.as_dict() == {
        "focus_A": FOCUS_A.tolist(),
        "shift_px": [[0, 0]] * 3,
        "electrons_per_unit": None,
    }


def test_the_drift_of_the_truth_explains_the_sections(libraries: list[FocalLibrary]) -> None:
    data, truth = series(libraries, drift_px=1.5)
    assert truth.shift_px[1].tolist() == [0, 0] and np.abs(truth.shift_px[[0, 2]]).min() > 0.1
    expected = by_hand(libraries, truth.shift_px)
    np.testing.assert_allclose(data, expected, atol=0.002 * expected.max())


def test_the_drift_is_a_random_walk() -> None:
    lone = columns([[0.0, 0.0]], [1], [0.0], [np.nan])
    library = FocalLibrary(np.linspace(-9, 9, 5), np.linspace(0, 3, 7), np.zeros((1, 5, 7)))
    n = 2001
    _, truth = focal_series(
        lone,
        [library],
        focus_A=np.zeros(n),
        shape=(4, 4),
        pixel_A=1.0,
        drift_px=0.3,
        dose_e_A2=None,
        rng=np.random.default_rng(0),
    )
    steps = np.diff(truth.shift_px, axis=0)
    assert np.std(steps) == pytest.approx(0.3, rel=0.05) and abs(steps.mean()) < 0.02
    # steps are independent, so that distances grow with the square root of the time
    assert abs((steps[1:] * steps[:-1]).mean()) < 5 * 0.3**2 / np.sqrt(2 * n)
    far = truth.shift_px[100:] - truth.shift_px[:-100]
    assert np.sqrt((far**2).mean()) == pytest.approx(3, rel=0.4)
    assert truth.shift_px[n // 2].tolist() == [0, 0]


def test_counts_are_poisson_about_the_signal(libraries: list[FocalLibrary]) -> None:
    clean, _ = series(libraries)
    dose = 4e5
    data, truth = series(libraries, dose=dose)
    assert truth.electrons_per_unit == dose * PIXEL_A**2
    counts, expected = data * truth.electrons_per_unit, clean.astype(float) * dose * PIXEL_A**2
    np.testing.assert_allclose(counts, counts.round(), atol=1e-3)
    # mean and variance of Poisson counts: each is the expected count
    assert abs((counts - expected).sum()) < 5 * np.sqrt(expected.sum())
    seen = expected > 1
    chi2 = ((counts - expected)[seen] ** 2 / expected[seen]).sum()
    assert abs(chi2 - seen.sum()) < 5 * np.sqrt(3 * seen.sum()) and seen.sum() > 400


def test_noise_and_drift_are_independent(libraries: list[FocalLibrary]) -> None:
    still, _ = series(libraries, dose=5e3)
    _, drifting = series(libraries, drift_px=1.0)
    noisy, both = series(libraries, drift_px=1.0, dose=5e3)
    np.testing.assert_array_equal(drifting.shift_px, both.shift_px)
    np.testing.assert_array_equal(still[1], series(libraries, dose=5e3)[0][1])
    assert not np.array_equal(still, series(libraries, dose=5e3, seed=2)[0])
    assert not np.array_equal(noisy, still)


def test_the_probes_of_all_foci_scatter_the_same() -> None:
    """The sum over all positions does not depend on focus, which only shifts phases in the aperture."""
    lone = columns([[0.0, 0.0]], [2], [0.0], [2.77], ["Pt"])
    focus = np.array([-300.0, 0.0, 150.0, 300.0])
    optics = FocalOptics(voltage_kV=200.0, semi_angle_mrad=15.0, detector_mrad=(40.0, 160.0))
    libraries = column_libraries(lone, optics, debye_waller_A2=0.4, focus_A=focus)
    data, _ = focal_series(
        lone,
        libraries,
        focus_A=focus,
        shape=(64, 64),
        pixel_A=0.25,
        drift_px=0.0,
        dose_e_A2=None,
        rng=np.random.default_rng(0),
    )
    total = data.sum(axis=(1, 2))
    assert data[1].max() > 3 * data[0].max()
    np.testing.assert_allclose(total, total[1], rtol=0.015)


def test_kinds_share_a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fake(kind: ColumnKind, optics: FocalOptics, *, most_atoms: int, **_: float) -> FocalLibrary:
        asked.append((kind.element, round(kind.spacing_A, 6), kind.debye_waller_A2, most_atoms))
        return FocalLibrary(np.arange(5.0), np.arange(5.0), np.zeros((most_atoms, 5, 5)))

    monkeypatch.setattr("etcli.core.simulate.focal.focal_library", fake)
    given = columns(
        [[5.0 * k, 0.0] for k in range(6)],
        [2, 3, 1, 2, 1, 2],
        [0.0] * 6,
        [2.88, 2.90, np.nan, 4.08, np.nan, 2.77],
        ["Au", "Au", "Au", "Au", "C", "Pt"],
    )
    found = column_libraries(given, OPTICS, debye_waller_A2=0.5, focus_A=np.array([-5.0, 5.0]))
    assert found[0] is found[1] is found[2] and len({id(library) for library in found}) == 4
    assert [library.most_atoms for library in found] == [3, 3, 3, 2, 1, 2]
    assert asked == [("Au", 2.89, 0.5, 3), ("Au", 4.08, 0.5, 2), ("C", 1.0, 0.5, 1), ("Pt", 2.77, 0.5, 2)]


def test_the_library_reaches_as_far_as_the_focus() -> None:
    lone = columns([[0.0, 0.0]], [1], [-30.0], [np.nan])
    (library,) = column_libraries(lone, OPTICS, debye_waller_A2=0.63, focus_A=np.array([-200.0, 210.0]))
    assert library.focus_A[-1] == 240 == -library.focus_A[0]
    # the cone of the probe, and twice λ / α beyond it
    assert library.radius_A[-1] == pytest.approx(0.021 * 240 + 2 * 0.01969 / 0.021, abs=0.12)
    with pytest.raises(UsageError, match="5030 Å out of focus the probe is too wide to be simulated"):
        column_libraries(lone, OPTICS, debye_waller_A2=0.63, focus_A=np.array([0.0, 5000.0]))


def test_places_are_from_the_centre() -> None:
    np.testing.assert_allclose(columns_px(PAIR, (40, 45), 0.5), [[17.4, 21.7], [24.8, 18.3]])


@pytest.mark.parametrize(
    "numbers",
    [(0.02, 0.02, 0.001), (0.0, 0.01, 0.02), (0.0, 0.01, 0.0), (0.0, 0.01, -0.001), (0.0, np.nan, 1)],
)
def test_a_range_without_a_series(numbers: tuple[float, float, float]) -> None:
    with pytest.raises(UsageError, match="no focal series"):
        defocus_range(*numbers)


@pytest.mark.parametrize("changed", [{"drift_px": -1.0}, {"pixel_A": 0.0}, {"dose_e_A2": 0.0}])
def test_impossible_numbers(libraries: list[FocalLibrary], changed: dict[str, float]) -> None:
    good = {"focus_A": FOCUS_A, "shape": SHAPE, "pixel_A": 1.0, "drift_px": 0.0, "dose_e_A2": None}
    with pytest.raises(UsageError, match=next(iter(changed))):
        focal_series(PAIR, libraries, **{**good, **changed}, rng=np.random.default_rng(0))
