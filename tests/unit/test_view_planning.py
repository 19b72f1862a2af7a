"""Zone axes and choice of views of a model, on arrangements whose answers are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import etcli
from etcli.core.entropy.planning import predicted_entropies
from etcli.core.entropy.ranking import angle_between
from etcli.core.entropy.view_choice import choose_views, density_ceilings, interior_points
from etcli.core.errors import UsageError
from etcli.core.simulate.adf import AiryDisc, Sphere

SIZE, RADIUS_PX = 48, 18.0
ANGLES = np.arange(0.0, 180.0, 2.0)


def crystal() -> np.ndarray:
    """A ball of a square lattice of columns along the tilt axis, turned by 7° about it."""
    line = np.arange(-30.0, 31.0, 5.0) + 1.3
    x, y, z = np.stack(np.meshgrid(line, line, line, indexing="ij")).reshape(3, -1)
    turn = np.deg2rad(7.0)
    atoms = np.stack([x * np.cos(turn) - z * np.sin(turn), y, x * np.sin(turn) + z * np.cos(turn)], axis=1)
    return atoms[np.linalg.norm(atoms, axis=1) < RADIUS_PX]


def disordered(atoms: np.ndarray, seed: int) -> np.ndarray:
    direction = np.random.default_rng(seed).normal(size=atoms.shape)
    return direction * (np.linalg.norm(atoms, axis=1) / np.linalg.norm(direction, axis=1))[:, None]


def images(atoms: np.ndarray, signal: AiryDisc | Sphere):
    def project(angle: float) -> np.ndarray:
        tilt = np.deg2rad(angle)
        place = np.stack([atoms[:, 0] * np.cos(tilt) + atoms[:, 2] * np.sin(tilt), atoms[:, 1]], axis=1)
        image = signal.image(place, np.ones(len(atoms)), (SIZE, SIZE))
        return image * (1e5 / image.sum())

    return project


def test_zone_axes_are_found_between_the_angles_of_the_grid() -> None:
    atoms, sphere = crystal(), Sphere(0.5)
    curve = predicted_entropies(
        images(atoms, sphere),
        ANGLES,
        disordered=lambda k: images(disordered(atoms, k), sphere)(0.0),
        threads=2,
    )
    found = np.array([axis.tilt_deg for axis in curve.zone_axes])
    for expected in (7.0, 97.0, 52.0, 142.0):  # <10> and <11> of the columns, turned by 7°
        assert angle_between(found, expected).min() < 0.1
    deepest = sorted(found[:4] % 90)
    np.testing.assert_allclose(deepest, [7, 7, 52, 52], atol=0.1)
    assert curve.zone_axes[0].significance > 10


def test_no_view_of_a_disordered_model_stands_out() -> None:
    atoms, sphere = crystal(), Sphere(0.5)
    found = [
        predicted_entropies(
            images(disordered(atoms, seed), sphere),
            ANGLES,
            disordered=lambda k: images(disordered(atoms, k), sphere)(0.0),
        ).zone_axes
        for seed in range(100, 105)
    ]
    assert not any(found)


def test_a_curve_needs_rising_angles() -> None:
    project = images(crystal(), Sphere(0.5))
    for angles in ([0.0, 1.0], [0.0, 2.0, 1.0]):
        with pytest.raises(UsageError, match="three tilt angles or more, in rising order"):
            predicted_entropies(project, angles, disordered=lambda k: project(0.0))


def test_points_fill_a_specimen() -> None:
    atoms = crystal()
    points = interior_points(atoms, 1.0)
    assert np.linalg.norm(points, axis=1).max() < RADIUS_PX + 5
    volume = 4 / 3 * np.pi * RADIUS_PX**3
    assert volume < len(points) < 2 * volume
    with pytest.raises(UsageError, match="two atoms or more"):
        interior_points(atoms[:1], 1.0)


def test_a_ceiling_is_above_the_density() -> None:
    """What a view shows is the sum along the ray, and no density is negative."""
    rng = np.random.default_rng(0)
    atoms = rng.uniform(-10, 10, (40, 3))
    project = images(atoms, AiryDisc(4.0))
    ceilings = density_ceilings(project, [0.0, 30.0, 90.0], atoms, threads=2)
    assert ceilings.shape == (3, 40)
    for k, angle in enumerate((0.0, 30.0, 90.0)):
        tilt = np.deg2rad(angle)
        x = atoms[:, 0] * np.cos(tilt) + atoms[:, 2] * np.sin(tilt) + (SIZE - 1) / 2
        y = atoms[:, 1] + (SIZE - 1) / 2
        at_pixel = project(angle)[np.rint(y).astype(int), np.rint(x).astype(int)]
        np.testing.assert_allclose(ceilings[k], at_pixel, rtol=0.35)
    outside = density_ceilings(project, [0.0], np.array([[100.0, 0.0, 0.0]]))
    assert outside[0, 0] == 0


@settings(deadline=None, max_examples=30)
@given(
    n_points=st.integers(1, 40), n_angles=st.integers(6, 30), n=st.integers(2, 6), seed=st.integers(0, 1000)
)
def test_a_choice_is_never_worse_than_even_spacing(n_points, n_angles, n, seed) -> None:
    rng = np.random.default_rng(seed)
    ceilings = rng.exponential(size=(n_angles, n_points)).astype(np.float32)
    angles = np.linspace(-60, 60, n_angles)
    plan = choose_views(ceilings, angles, n)
    assert plan.ceiling <= plan.even_ceilings[0] * (1 + 1e-6)
    assert plan.ceiling == pytest.approx(ceilings[plan.chosen].min(axis=0).mean(), rel=1e-6)
    assert plan.chosen == sorted(set(plan.chosen)) and len(plan.chosen) == n
    assert plan.gain == pytest.approx(1 - plan.ceiling / plan.even_ceilings.mean())
    np.testing.assert_array_equal(plan.chosen, choose_views(ceilings, angles, n, threads=3).chosen)


def test_chosen_views_keep_half_the_distance_of_even_ones() -> None:
    ceilings = np.ones((90, 5), np.float32)
    ceilings[30:34] = 0.1  # the best views are next to each other
    plan = choose_views(ceilings, ANGLES, 6)
    angles = ANGLES[plan.chosen]
    apart = angle_between(angles[:, None], angles) + 90 * np.eye(6)
    assert apart.min() >= 15
    assert any(30 <= k < 34 for k in plan.chosen)
    with pytest.raises(UsageError, match="7 views cannot be chosen from 6 tilt angles"):
        choose_views(ceilings[:6], ANGLES[:6], 7)


def test_views_of_a_crystal_are_chosen_near_its_zone_axes() -> None:
    atoms = crystal()
    points = interior_points(atoms, 1.5)
    ceilings = density_ceilings(images(atoms, AiryDisc(4.0)), ANGLES, points, threads=2)
    plan = choose_views(ceilings, ANGLES, 4)
    for expected in (7.0, 97.0):
        assert angle_between(ANGLES[plan.chosen], expected).min() <= 1.0
    assert plan.gain > 0.05


def test_plans_know_what_chance_is_worth() -> None:
    atoms = 0.4 * crystal()
    model = etcli.Atoms(atoms, np.full(len(atoms), "Si"))
    plan = etcli.plan_views(model, 6, angles=(0, 178), step_deg=2, pixel=0.4, resolution="1.6A")
    assert plan.views is not None
    assert plan.views.even_views > plan.disordered_even_views >= 6
    assert plan.numbers["even_views"] == plan.views.even_views
    assert plan.numbers["n_atoms"] == len(atoms) and len(plan.numbers["chosen_deg"]) == 6
    assert plan.table["chosen"].sum() == 6
    with pytest.raises(UsageError, match="no tilt angles from"):
        etcli.plan_views(model, angles=(10, -10))
    with pytest.raises(UsageError, match="pixels are needed"):
        etcli.plan_views(model, pixel=0.001)
