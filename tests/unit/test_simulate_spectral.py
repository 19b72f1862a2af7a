"""Elemental specimens and what several detectors count of them, beside closed forms and quadrature."""

import numpy as np
import pytest

from etcli.core.errors import UsageError
from etcli.core.simulate.acquisition import AcquisitionErrors
from etcli.core.simulate.elemental import ElementalSpecimen, Linear, Part
from etcli.core.simulate.elemental_specimens import SPECIMENS, haadf_weights
from etcli.core.simulate.imaging import ViewGeometry
from etcli.core.simulate.shapes import box, cylinder, rotation
from etcli.core.simulate.solids import ellipsoid
from etcli.core.simulate.spectral import SpectralDose, SpectrumModel, record_spectral
from etcli.core.spectra.detector import EnergyAxis

AXIS = EnergyAxis(0.02, 0.04, 256)


def alloy(shape=(20, 24, 28)) -> ElementalSpecimen:
    """A turned box whose Ni and Co change along its own x, with a cylinder of Co in place of both."""
    middle, turn = np.array([1.5, -1, 0.5]), rotation(20, 35, -25)
    content = {
        "Ni": Linear.along(middle, turn[:, 0], 0.5, 0.05),
        "Co": Linear.along(middle, turn[:, 0], 0.5, -0.05),
    }
    lean = rotation(x_deg=-60)
    hole = {name: Linear(-d.at_centre, tuple(-g for g in d.gradient)) for name, d in content.items()}
    hole["Co"] = Linear(hole["Co"].at_centre + 1, hole["Co"].gradient)
    parts = (
        Part(box(middle, (8, 5, 6), axes=turn), content),
        Part(cylinder(middle, (3, 2, 4), axes=lean), hole),
    )
    return ElementalSpecimen(("Ni", "Co"), parts, shape)


def test_a_rotation_turns_by_the_right_hand_rule() -> None:
    np.testing.assert_allclose(rotation(x_deg=90) @ [0, 1, 0], [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(rotation(y_deg=90) @ [0, 0, 1], [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(rotation(90, 0, 90) @ [0, 1, 0], [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(rotation(30, 40, 50) @ rotation(30, 40, 50).T, np.eye(3), atol=1e-12)


def test_boxes_and_cylinders_have_their_volume_and_box() -> None:
    turn = rotation(25, 40, -15)
    for body, volume in (
        (box((1, 2, -1), (4, 3, 5), axes=turn), 8 * 4 * 3 * 5),
        (cylinder((1, 2, -1), (4, 3, 5), axes=turn), np.pi * 4 * 3 * 10),
    ):
        specimen = ElementalSpecimen(("Ni",), (Part(body, {"Ni": Linear(1.0)}),), (30, 30, 30))
        assert specimen.volume("Ni").sum() == pytest.approx(volume, rel=3e-3)
        for tilt_deg in (-60, 0, 25):
            view = specimen.project(ViewGeometry.of(tilt_deg), (30, 30))[0]
            assert view.sum() == pytest.approx(volume, rel=3e-3)
        points = np.random.default_rng(1).uniform(-12, 12, (3, 20000))
        inside = points[:, body.contains(*points)]
        assert (inside >= body.low[:, None]).all()
        assert (inside <= body.high[:, None]).all()
        # the box is tight to what random points can tell
        np.testing.assert_allclose(inside.max(axis=1), body.high, atol=1)


def test_shapes_without_a_volume_are_refused() -> None:
    with pytest.raises(UsageError, match="is empty"):
        box((0, 0, 0), (1, 0, 2))
    with pytest.raises(UsageError, match="perpendicular to y"):
        cylinder((0, 0, 0), (2, 2, 5), axes=rotation(y_deg=30))


@pytest.mark.parametrize("tilt_deg", [-70.0, 0.0, 33.0])
def test_projections_are_the_integrals_of_linear_densities(tilt_deg) -> None:
    """Along a ray of its own: points every hundredth of a pixel, on the density as its definition has it."""
    specimen, n = alloy(), 4001
    seen = specimen.project(ViewGeometry.of(tilt_deg), (24, 28), oversampling=1)
    cos, sin = np.cos(np.deg2rad(tilt_deg)), np.sin(np.deg2rad(tilt_deg))
    t = np.linspace(-20, 20, n)
    for row, column in ((11, 14), (9, 17), (13, 12), (15, 10)):
        p, y = column - 13.5, row - 11.5
        x, z = p * cos - t * sin, p * sin + t * cos
        for k, element in enumerate(specimen.elements):
            density = sum(
                part.body.contains(x, y, z) * part.content[element].at(x, np.full(n, y), z)
                for part in specimen.parts
            )
            assert seen[k, row, column] == pytest.approx(np.trapezoid(density, t), abs=0.03)


def test_volumes_have_the_mean_density_of_points() -> None:
    specimen = alloy()
    grid = (np.arange(20)[:, None] + (np.arange(6) + 0.5) / 6 - 0.5).ravel() - 9.5
    z, y, x = np.meshgrid(grid, grid, grid, indexing="ij")
    for element in specimen.elements:
        points = sum(
            part.body.contains(x, y, z) * part.content[element].at(x, y, z) for part in specimen.parts
        )
        expected = points.reshape(20, 6, 20, 6, 20, 6).mean((1, 3, 5))
        found = specimen.volume(element)[:, 2:22, 4:24]
        assert np.abs(found - expected).max() < 0.12  # where a surface cuts a voxel
        inside = np.abs(found - expected) < 1e-3
        assert inside.mean() > 0.75
        assert found.sum() == pytest.approx(expected.sum(), rel=2e-3)


@pytest.mark.parametrize("name", SPECIMENS)
@pytest.mark.parametrize("size", [40, 72])
def test_specimens_are_possible(name, size) -> None:
    """No negative density, and every view shows all of each element, but for the film and the needle."""
    specimen = SPECIMENS[name](size)
    volumes = {element: specimen.volume(element) for element in specimen.elements}
    views = {tilt: specimen.project(ViewGeometry.of(tilt), specimen.shape[1:]) for tilt in (-75, 0, 75)}
    endless = {"film": ("Ti",), "needle": ("Si", "O")}.get(name, ())
    for k, (element, volume) in enumerate(volumes.items()):
        assert volume.min() >= -1e-6
        assert volume.max() > 0.05
        for view in views.values():
            assert view[k].min() >= -1e-4
            if element not in endless:
                assert view[k].sum() == pytest.approx(volume.sum(), rel=1e-2)
    if name == "film":  # no pixel without it, except in its two holes at 0 degrees
        assert (views[75][2] > 1).all()
        assert (views[0][2] > 1).mean() > 0.9


def test_scaled_specimens_are_alike() -> None:
    for make in SPECIMENS.values():
        small, large = make(36), make(72)
        fractions = [
            [specimen.volume(element).mean() for element in specimen.elements] for specimen in (small, large)
        ]
        np.testing.assert_allclose(*fractions, rtol=0.03)
    with pytest.raises(UsageError, match="shows nothing"):
        SPECIMENS["needle"](20)


def test_cobalt_and_nickel_are_equally_bright() -> None:
    """At the boundaries of the particles that consist of both: dark field does not show them."""
    specimen = SPECIMENS["particles"](72)
    weights = haadf_weights(specimen.elements)
    brightness = np.tensordot(weights, [specimen.volume(element) for element in specimen.elements], 1)
    nickel, cobalt = (specimen.volume(element) for element in ("Ni", "Co"))
    both = (nickel > 0.05) & (cobalt > 0.05) & (nickel + cobalt > 0.99)
    assert both.sum() > 500
    np.testing.assert_allclose(brightness[both], 1, atol=0.07)


def record(specimen=None, *, spectra=False, threads=1, errors=None, maps=(1, 3), **dose):
    return record_spectral(
        specimen or alloy(),
        np.array([-60.0, -30.0, 0.0, 30.0, 60.0]),
        np.array(maps),
        axis=AXIS,
        dose=SpectralDose(**dose),
        errors=errors or AcquisitionErrors(),
        rng=np.random.default_rng(3),
        spectra=spectra,
        threads=threads,
    )


def test_expected_counts_are_those_of_the_path() -> None:
    found = record(noise=False, counts=0.4, haadf_counts=20)
    lines = alloy().project(ViewGeometry.of(-30), (24, 28))
    np.testing.assert_allclose(found.counts[0, 0], 0.4 * lines[0], rtol=1e-5)
    ratio = found.truth.sensitivity[1] / found.truth.sensitivity[0]
    np.testing.assert_allclose(found.counts[1, 0], 0.4 * ratio * lines[1], rtol=1e-5)
    np.testing.assert_allclose(
        found.haadf[1], 20 * (lines[0] + (27 / 28) ** 1.7 * lines[1]), rtol=1e-5, atol=1e-5
    )


def test_counts_scatter_as_they_should() -> None:
    expected = record(noise=False, counts=5.0)
    found = record(counts=5.0, haadf_noise=7.0)
    scatter = (found.counts - expected.counts) / np.sqrt(np.maximum(expected.counts, 1))
    assert scatter[expected.counts > 3].std() == pytest.approx(1, abs=0.05)
    assert (found.counts % 1 == 0).all()
    away = (found.haadf - expected.haadf) / np.sqrt(expected.haadf + 49)
    assert away.std() == pytest.approx(1, abs=0.03)
    np.testing.assert_array_equal(found.counts, record(counts=5.0, haadf_noise=7.0, threads=3).counts)


def test_maps_move_with_the_dark_field() -> None:
    errors = AcquisitionErrors(drift_px=3.0, axis_deg=5.0, axis_offset_px=1.0)
    found = record(noise=False, errors=errors)
    y, x = np.mgrid[:24, :28]
    weights = found.truth.haadf_counts / found.truth.sensitivity
    for k, view in enumerate((1, 3)):
        both = np.tensordot(weights, found.counts[:, k], 1)
        np.testing.assert_allclose(both, found.haadf[view], rtol=1e-4, atol=1e-3)
        middle = np.array([(x * both).sum(), (y * both).sum()]) / both.sum()
        still = record(noise=False, errors=AcquisitionErrors(axis_deg=5.0, axis_offset_px=1.0)).haadf[view]
        before = np.array([(x * still).sum(), (y * still).sum()]) / still.sum()
        np.testing.assert_allclose(middle - before, found.truth.geometry.shift_px[view], atol=0.02)


def test_shadow_and_gain_change_maps_only() -> None:
    plain = record(noise=False, maps=(0, 2, 4))
    found = record(noise=False, maps=(0, 2, 4), shadow=0.4)
    np.testing.assert_allclose(found.truth.gain, 1 - 0.4 * np.exp(-(np.array([0, 1.5, 3]) ** 2)))
    np.testing.assert_allclose(
        found.counts, found.truth.gain[:, None, None] * plain.counts, rtol=1e-5, atol=1e-6
    )
    np.testing.assert_array_equal(found.haadf, plain.haadf)
    many = record_spectral(
        alloy(),
        np.arange(200.0) / 10,
        np.arange(200),
        axis=AXIS,
        dose=SpectralDose(noise=False, gain_spread=0.1),
        errors=AcquisitionErrors(),
        rng=np.random.default_rng(1),
    )
    assert np.log(many.truth.gain).std() == pytest.approx(0.1, rel=0.15)


def test_spectra_add_up_to_the_maps() -> None:
    """The lines of the elements have the counts of the maps; stray copper and bremsstrahlung come on top."""
    maps, found = record(noise=False, counts=2.0), record(noise=False, counts=2.0, stray=0.5, spectra=True)
    model = SpectrumModel.of(("Ni", "Co"), SpectralDose(counts=2.0, stray=0.5), AXIS)
    background = model.background / model.background.sum(axis=1, keepdims=True)
    lines = maps.counts / found.truth.sensitivity[:, None, None, None]
    continuum = np.einsum("c,ckyx->kyx", model.background.sum(axis=1), lines)
    total = maps.counts.sum(axis=0) + continuum + 1.0
    np.testing.assert_allclose(found.counts.sum(axis=3), total, rtol=1e-4)
    assert found.counts.shape == (2, 24, 28, 256)
    np.testing.assert_allclose(background[0], background[1])
    # a pure element's strongest channel is at its Kα line
    energy = AXIS.energy_keV
    above = energy > 5
    assert energy[above][model.elements[0][above].argmax()] == pytest.approx(7.47, abs=0.04)
    drawn = record(counts=2.0, stray=0.5, spectra=True)
    assert drawn.counts.dtype == np.uint16
    assert drawn.counts.sum() == pytest.approx(found.counts.sum(), rel=0.02)


@pytest.mark.parametrize(
    ("dose", "message"),
    [
        ({"counts": 0}, "counts 0: give a positive number"),
        ({"haadf_noise": -1}, "haadf-noise -1: give a zero or positive number"),
        ({"shadow": 1}, "shadow 1"),
        ({"gain_spread": np.nan}, "gain-spread nan"),
    ],
)
def test_impossible_doses(dose, message) -> None:
    with pytest.raises(UsageError, match=message):
        record(**dose)


def test_elements_without_lines_in_the_channels() -> None:
    ball = Part(ellipsoid((0, 0, 0), 5), {"H": Linear(1.0)})
    with pytest.raises(UsageError, match="H has no X-ray lines"):
        record(ElementalSpecimen(("H",), (ball,), (16, 16, 16)))
