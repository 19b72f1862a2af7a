"""Potentials and images of any atoms: sums, shifts, and rotations about the tilt axis."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from etcli.core.atomic_model import Atoms
from etcli.core.multislice.optics import PhaseContrastOptics, WaveGrid
from etcli.core.multislice.potential import ProjectedPotential
from etcli.core.simulate.acquisition import AcquisitionErrors
from etcli.core.simulate.hrtem import hrtem_series

coordinate = st.floats(-5, 5)
atom = st.tuples(st.sampled_from(["H", "O", "Si", "Au"]), st.tuples(coordinate, coordinate, coordinate))
specimens = st.lists(atom, min_size=1, max_size=6).map(
    lambda atoms: Atoms(np.array([xyz for _, xyz in atoms]), np.array([name for name, _ in atoms]))
)
OPTICS = PhaseContrastOptics(300, aperture_mrad=15.0)


@settings(max_examples=20, deadline=None)
@given(specimens, st.tuples(st.integers(-40, 40), st.integers(-40, 40)))
def test_potentials_add_up_and_move_with_the_atoms(atoms: Atoms, pixels: tuple[int, int]) -> None:
    grid = WaveGrid((36, 40), 0.3)
    form = ProjectedPotential.of(atoms.species, grid, limit_per_A=1.5, debye_waller_A2=0.5)
    place_A = atoms.position_A[:, :2]
    whole = form.image(place_A, atoms.species)
    single = [
        form.image(place, name)
        for place, name in zip(
            np.split(place_A, len(atoms)), np.split(atoms.species, len(atoms)), strict=True
        )
    ]
    tolerance = 1e-5 * np.abs(single).max() * len(atoms)
    np.testing.assert_allclose(whole, sum(single), atol=tolerance)
    moved = form.image(place_A + 0.3 * np.array(pixels), atoms.species)
    np.testing.assert_allclose(moved, np.roll(whole, pixels[::-1], (0, 1)), atol=tolerance)


@settings(max_examples=10, deadline=None)
@given(specimens, st.floats(-90, 90), st.floats(-600, 600))
def test_the_stage_turns_the_atoms(atoms: Atoms, tilt_deg: float, defocus_A: float) -> None:
    def seen(specimen: Atoms, tilt: float) -> np.ndarray:
        return hrtem_series(
            specimen, np.array([tilt]), [defocus_A], OPTICS, shape=(32, 24), pixel_A=0.5,
            errors=AcquisitionErrors(), rng=np.random.default_rng(0), debye_waller_A2=0.5,
        )[0][0]  # fmt: skip

    cos, sin = np.cos(np.deg2rad(tilt_deg)), np.sin(np.deg2rad(tilt_deg))
    x, y, z = atoms.position_A.T
    turned = Atoms(np.stack([x * cos + z * sin, y, z * cos - x * sin], axis=1), atoms.species)
    found, wanted = seen(atoms, tilt_deg), seen(turned, 0.0)
    # an atom halfway between two slices goes into either, as numbers are rounded
    assert np.sqrt(np.mean((found - wanted) ** 2)) < 0.01 * wanted.std() + 2e-4
