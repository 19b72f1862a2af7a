"""Species, missing atoms, tails and errors of models refined against views."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from etcli.core.atoms.complete_model import CompletedModel, complete_model, of_one_width
from etcli.core.atoms.gaussian_fit import FitRules, start_atoms
from etcli.core.atoms.gaussian_model import (
    AtomViews,
    GaussianModel,
    project_model,
    with_diffuse,
)
from etcli.core.atoms.refine_model import refine_model
from etcli.core.atoms.refined_species import amplitude_classes
from etcli.core.atoms.restraint import find_restraint
from etcli.core.atoms.tails import tails
from etcli.core.errors import DataError
from etcli.core.orientation import rotation_matrices, tilts_as_euler

PIXEL_A, SIGMA_A, SIGNALS = 0.4, 0.5, np.array([93.0, 172.0, 360.0])


def particle(n=6, seed=0):
    """Places of n³ atoms that are 2.7 Å apart, and the species of each."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    return (grid - (n - 1) / 2) * 2.7 + rng.uniform(-0.2, 0.2, grid.shape), rng.integers(0, 3, n**3)


def seen(model, *, tail=0.0, seed=1):
    """Views in a missing wedge with Poisson noise; a share of each atom may be in a wide tail."""
    rotation = rotation_matrices(tilts_as_euler(np.linspace(-68, 68, 30)))
    empty = AtomViews(np.zeros((30, 64, 64)), rotation, PIXEL_A)
    shown = project_model(model, empty)
    wide = np.stack([ndimage.gaussian_filter(view, 5 * SIGMA_A / PIXEL_A) for view in shown])
    data = np.random.default_rng(seed).poisson((1 - tail) * shown + tail * wide)
    return replace(empty, data=data.astype(float))


@pytest.fixture(scope="module")
def completed():
    """What is made of a model with wrong species, missing and false atoms; the truth; how many miss."""
    place, kind = particle()
    true = GaussianModel(place, SIGNALS[kind], kind, np.full(3, SIGMA_A), np.zeros(30))
    views = seen(true, tail=0.15)
    rng = np.random.default_rng(2)
    keep = rng.random(len(place)) > 0.05
    wrong = np.where(rng.random(len(kind)) < 0.2, (kind + 1) % 3, kind)
    false = np.array([[10.5, 0, 0], [-10.5, 0, 0]])
    start = GaussianModel(
        np.concatenate([place[keep] + rng.normal(scale=0.1, size=(keep.sum(), 3)), false]),
        np.concatenate([SIGNALS[wrong[keep]], [60, 60]]),
        np.concatenate([wrong[keep], [0, 0]]),
        np.full(3, SIGMA_A),
        np.zeros(30),
    )
    box = np.full(3, 12.0)
    found = complete_model(start, views, restraint_A=0.5, low_A=-box, high_A=box, min_distance_A=1.6)
    return found, true, (~keep).sum()


def test_atoms_can_be_kept_as_they_are():
    place, kind = particle(3)
    true = GaussianModel(place, SIGNALS[kind], kind, np.full(3, SIGMA_A), np.zeros(30))
    views = seen(true)
    false = np.array([[9.0, 0, 0]])
    start = replace(
        true.select(np.arange(len(true)) > 2),
        position_A=np.concatenate([place[3:], false]),
        amplitude=np.append(true.amplitude[3:], 60.0),
        kind=np.append(kind[3:], 0),
    )
    box = {"low_A": np.full(3, -12.0), "high_A": np.full(3, 12.0), "min_distance_A": 1.6}
    found = complete_model(start, views, restraint_A=1e-4, **box, keep_all=True)
    np.testing.assert_array_equal(found.origin, np.arange(len(start)))
    assert abs(found.refined.model.position_A - start.position_A).max() < 1e-3
    assert all(one.count == 0 for one in found.removed)


def test_views_of_nothing_show_none_of_the_atoms():
    place, kind = particle(2)
    true = GaussianModel(place, SIGNALS[kind], 0 * kind, np.full(1, SIGMA_A), np.zeros(30))
    blank = seen(replace(true, amplitude=np.full(8, 1e-6), level=np.full(30, 50.0)))
    box = {"low_A": np.full(3, -12.0), "high_A": np.full(3, 12.0), "min_distance_A": 1.6}
    with pytest.raises(DataError, match="the views show none of the atoms"):
        complete_model(true, blank, restraint_A=0.1, **box)


def test_matter_that_is_no_atoms_gets_none():
    """Weak atoms close together beside a particle, like a support."""
    place, _ = particle(4)
    model = GaussianModel(place, np.full(64, 400.0), np.zeros(64, int), np.full(1, SIGMA_A), np.zeros(30))
    rng = np.random.default_rng(5)
    slab = np.column_stack([rng.uniform(-9, 9, 300), rng.uniform(-9, 9, 300), rng.uniform(-11, -6.5, 300)])
    support = GaussianModel(slab, np.full(300, 80.0), np.zeros(300, int), np.full(1, 0.7), np.zeros(30))
    views = seen(model)
    shown = project_model(model, views) + project_model(support, views)
    views = replace(views, data=rng.poisson(shown).astype(float))
    box = {"low_A": np.full(3, -12.0), "high_A": np.full(3, 12.0), "min_distance_A": 1.6}
    found = complete_model(model, views, restraint_A=0.05, **box)
    assert (found.origin >= 0).all() and len(found.origin) == 64


def test_the_search_ends_when_all_that_it_finds_is_noise(monkeypatch):
    place, kind = particle(4)
    true = GaussianModel(place, SIGNALS[kind], kind, np.full(3, SIGMA_A), np.zeros(30))
    views, rng, searches = seen(true), np.random.default_rng(3), []

    def noise(known, views, **search):
        searches.append(len(known))
        direction = rng.normal(size=(5, 3))
        return 9 * direction / np.linalg.norm(direction, axis=1, keepdims=True), np.full(5, 10.0)

    monkeypatch.setattr("etcli.core.atoms.complete_model.deconvolved_atoms", noise)
    box = {"low_A": np.full(3, -12.0), "high_A": np.full(3, 12.0), "min_distance_A": 1.6}
    found = complete_model(true, views, restraint_A=0.5, **box)
    assert searches == [64, 64] and (found.origin >= 0).all()


def test_species_missing_and_false_atoms_come_out_right(completed):
    found, true, n_missing = completed
    model = found.refined.model
    assert len(model) == len(true)
    # an atom displaced by a false or missing neighbour may be removed and found again
    assert 5 < n_missing <= (found.origin < 0).sum() <= n_missing + 2
    distance = np.linalg.norm(model.position_A[:, None] - true.position_A, axis=-1)
    nearest = distance.argmin(axis=1)
    assert distance.min(axis=1).max() < 0.5
    np.testing.assert_array_equal(model.kind, true.kind[nearest])
    assert found.classes.probability[np.arange(len(model)), 1 + model.kind].min() > 0.9
    assert 2 <= found.removed[0].count <= 4


def test_errors_are_those_of_the_positions(completed):
    found, true, _ = completed
    model = found.refined.model
    nearest = np.linalg.norm(model.position_A[:, None] - true.position_A, axis=-1).argmin(axis=1)
    away = model.position_A - true.position_A[nearest]
    told = (found.refined.error_A(0.5) ** 2).mean(axis=0)
    assert 1 / 1.3 < np.sqrt(told.sum() / (away**2).mean(axis=0).sum()) < 1.3
    # atoms in rows along the axes overlap in some views, which is neglected
    assert (np.abs(np.log(told / (away**2).mean(axis=0)) / 2) < np.log(1.4)).all()


def test_a_restrained_atom_inherits_the_error_of_where_it_was_found(completed):
    refined = completed[0].refined
    home_A = np.full(refined.model.position_A.shape, 0.3)
    np.testing.assert_allclose(refined.error_A(1e-4, home_A), home_A, rtol=0.01)
    np.testing.assert_allclose(refined.error_A(1e3, home_A), refined.error_A(), rtol=0.01)
    unknown = np.full_like(home_A, np.nan)
    assert np.isfinite(refined.error_A(0.1, unknown)).all()


def test_tails_are_found_beside_the_atoms():
    place, kind = particle(4)
    true = GaussianModel(place, SIGNALS[kind], kind, np.full(3, SIGMA_A), np.zeros(30))
    shown = project_model(true, seen(true))
    wide = np.stack([ndimage.gaussian_filter(view, 8 * SIGMA_A / PIXEL_A, mode="constant") for view in shown])
    fitted = tails(shown, 0.1 * wide - 0.05 * shown + 3, np.ones(shown.shape), SIGMA_A / PIXEL_A)
    expected = 0.1 * (wide - wide.mean(axis=(1, 2), keepdims=True))
    np.testing.assert_allclose(fitted, expected, atol=0.01 * np.abs(expected).max())


def test_views_without_tails_get_hardly_any():
    place, kind = particle(4)
    true = GaussianModel(place, SIGNALS[kind], kind, np.full(3, SIGMA_A), np.zeros(30))
    views = with_diffuse(seen(true), true)
    assert np.abs(views.fixed).max() < 0.02 * project_model(true, views).max()
    nothing = true.select(np.zeros(len(true), bool))
    assert with_diffuse(views, nothing).fixed is None


def test_a_rare_light_species_is_no_noise():
    rng = np.random.default_rng(3)
    kind = np.repeat([0, 1, 2], [60, 400, 540])
    amplitude = SIGNALS[kind] + rng.normal(scale=8, size=len(kind))
    error = np.full(len(kind), 7.5)
    wrong = np.where(rng.random(len(kind)) < 0.1, (kind + 1) % 3, kind)
    classes = amplitude_classes(amplitude, error, wrong, n_species=3, removed=rng.uniform(0, 40, 50))
    np.testing.assert_array_equal(classes.kind, kind)
    assert classes.are_atoms.all() and classes.doubt < 1e-3


def test_an_uncertain_atom_has_an_uncertain_species():
    rng = np.random.default_rng(4)
    kind = np.repeat([0, 1], 200)
    amplitude = np.append(SIGNALS[kind] + rng.normal(scale=8, size=400), 150.0)
    error = np.append(np.full(400, 8.0), 60.0)
    sure = amplitude_classes(
        amplitude, np.full(401, 8.0), np.append(kind, 1), n_species=2, removed=np.empty(0)
    )
    unsure = amplitude_classes(amplitude, error, np.append(kind, 1), n_species=2, removed=np.empty(0))
    assert sure.probability[-1, 2] > 0.99 > 0.9 > unsure.probability[-1, 2]


def restraint_of(views, place, complete):
    """Restraint of atoms at some places of a volume."""
    size = views.data.shape[-1]
    return find_restraint(
        views,
        start_atoms(place / PIXEL_A + (size - 1) / 2, np.ones(len(place)), SIGMA_A / PIXEL_A),
        FitRules(SIGMA_A / PIXEL_A),
        kind=np.zeros(len(place), int),
        score=np.ones(len(place)),
        sigma_A=np.array([SIGMA_A]),
        smoothing_A=0.2,
        shape=(size, size, size),
        voxel_A=PIXEL_A,
        centre_A=np.zeros(3),
        level=0.0,
        spread=np.inf,
        complete=complete,
    )


def test_the_restraint_is_chosen_again_once_atoms_that_the_volume_lacks_are_found():
    place, kind = particle(4)
    true = GaussianModel(place, SIGNALS[kind], kind, np.full(3, SIGMA_A), np.zeros(30))
    lacks, tried_A = kind == 0, []

    def complete(position_A, used, restraint_A):
        tried_A.append(restraint_A)
        home_A, n = place.copy(), len(used.data)
        home_A[~lacks] = position_A
        start = of_one_width(replace(true, position_A=home_A, level=np.zeros(n)))
        held = {"restraint_A": restraint_A, "home_A": home_A, "spread": np.inf}
        return CompletedModel(refine_model(start, used, **held), None, np.where(lacks, -1, 0), home_A, [])

    found = restraint_of(seen(true), place[~lacks], complete)
    assert found.tried_A[0] == tried_A[0] <= found.best_A  # the first search begins below
    assert found.completes and found.completed_misfit < found.kept_misfit / 2
