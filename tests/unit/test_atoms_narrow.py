"""Atoms of potentials: narrower than a voxel, of several elements, among many maxima of noise."""

import ase.data
import numpy as np
import pytest
from numpy.typing import NDArray

from etcli.core.atoms.candidates import LEAST_WIDTH_PX, are_strong, smoothing_for
from etcli.core.atoms.gaussian_fit import FitRules, fit_atoms, heights, places, start_atoms
from etcli.core.atoms.score_mixture import SpecimenMixture, least_score, specimen_mixture
from etcli.core.atoms.tracing import Trace, TraceRules, trace
from etcli.core.covalent_radii import COVALENT_RADII_A, shortest_bond_A
from etcli.core.errors import DataError
from etcli.core.lengths import Length
from etcli.pipeline.trace_request import TraceRequest
from tests.gaussians import bound_px, gaussian_volume, jittered, nearest

Float = NDArray[np.float64]

PIXEL_A, SIGMA_PX = 0.5, 0.74
OXYGEN, SILICON = 0.6, 1.0


def glass(n: int = 4) -> tuple[Float, Float]:
    """Places and heights of n³ silicon atoms 3.1 Å apart, and of an oxygen atom 1.62 Å from each."""
    silicon = jittered(n, step=6.2, spread=0.3) + 3
    way = np.random.default_rng(2).normal(size=silicon.shape)
    oxygen = silicon + 3.24 * way / np.linalg.norm(way, axis=1, keepdims=True)
    far = np.linalg.norm(oxygen[:, None] - silicon, axis=2).min(axis=1) > 3.2
    far &= np.triu(np.linalg.norm(oxygen[:, None] - oxygen, axis=2) < 4.4, 1).sum(axis=0) == 0
    place = np.concatenate([silicon, oxygen[far]])
    return place, np.repeat([SILICON, OXYGEN], [len(silicon), far.sum()])


def in_vacuum(noise: float, *, size: int = 56, seed: int = 0) -> tuple[Float, Float, NDArray[np.float32]]:
    """The glass in the middle of a large vacuum with noise that is nowhere negative, as in a potential."""
    place, height = glass()
    place = place + (size - 38) / 2
    volume = gaussian_volume(place, (size,) * 3, sigma_px=SIGMA_PX, height=height)
    volume += noise * np.random.default_rng(seed).normal(size=volume.shape)
    return place, height, volume.clip(0).astype(np.float32)


def traced(volume: NDArray[np.float32], species: tuple[str, ...] = ("O", "Si"), **options: object) -> Trace:
    request = TraceRequest(species, **options)  # type: ignore[arg-type]
    return trace(volume.copy(), PIXEL_A, request.rules(PIXEL_A))


def test_oxygen_beside_silicon_is_found_on_coarse_voxels() -> None:
    place, height, volume = in_vacuum(0.0)
    found = traced(volume)
    error, distance = nearest(places(found.fitted), place)
    assert len(found.fitted) == len(place) and distance.max() < 0.1
    assert np.sqrt(np.mean(error**2)) * PIXEL_A < 0.01
    assert found.sigma_A == pytest.approx(SIGMA_PX * PIXEL_A, rel=0.03)
    assert found.rules.freedom == "shared" and found.rules.sigma_px == pytest.approx(LEAST_WIDTH_PX)
    which = np.linalg.norm(places(found.fitted)[:, None] - place, axis=2).argmin(axis=1)
    np.testing.assert_array_equal(found.kind, height[which] == SILICON)


@pytest.mark.parametrize("seed", [1, 2])
def test_atoms_among_twenty_times_as_many_maxima_of_noise(seed: int) -> None:
    place, height, volume = in_vacuum(0.12, seed=seed)
    found = traced(volume)
    error, distance = nearest(places(found.fitted), place)
    seen = distance < 2
    assert seen.mean() > 0.97
    assert len(found.fitted) - seen.sum() <= 0.03 * len(place)
    # noise is cut off below 0, and errors of oxygen are as large as their height is small
    least = bound_px(0.12, SIGMA_PX) * np.sqrt(np.mean(height**-2))
    assert np.sqrt(np.mean(error[seen] ** 2)) < 2 * least
    assert sum(rule.count for rule in found.removed if "score" in rule.rule) > 10 * len(place)
    assert len(found.candidates) < 4 * len(place)


def test_the_width_of_an_atom_is_free_if_asked() -> None:
    _, _, volume = in_vacuum(0.0)
    assert traced(volume, fit="gaussian").rules.freedom == "isotropic"
    assert traced(volume, fit="shared").rules.freedom == "shared"


def test_a_wider_least_distance_takes_the_weaker_of_two() -> None:
    place, height, volume = in_vacuum(0.0)
    found = traced(volume, min_distance=Length(2.0, "A"))
    assert len(found.fitted) == np.sum(height == SILICON) < len(place)


@pytest.mark.parametrize("species", [("Si",), ("O", "Si"), ("O", "Ti", "Sr")])
def test_nothing_is_found_in_noise_of_single_voxels(species: tuple[str, ...]) -> None:
    rng = np.random.default_rng(4)
    noise = rng.exponential(1, (48, 48, 48)) * (rng.random((48, 48, 48)) < 0.1)
    with pytest.raises(DataError, match="noise"):
        traced(noise.astype(np.float32), species)


def test_narrow_atoms_are_smoothed_to_what_voxels_resolve() -> None:
    for sigma_px in (0.6, 0.74, 0.85):
        assert np.hypot(sigma_px, smoothing_for(sigma_px, 100.0)) == pytest.approx(LEAST_WIDTH_PX)
    assert smoothing_for(1.25, 100.0) == pytest.approx(0.3 * 1.25)
    assert smoothing_for(0.74, 3.7) == pytest.approx(0.8 * 0.74)


def test_a_fit_stays_among_its_voxels() -> None:
    """On a slope, a Gaussian would climb away and grow without limit."""
    volume = np.exp(0.8 * (np.indices((24, 24, 24))[2] - 12.0)).astype(np.float32)
    atoms = start_atoms(np.array([[12.0, 12, 12]]), np.ones(1), SIGMA_PX)
    rules = FitRules(SIGMA_PX)
    fitted, _ = fit_atoms(volume, atoms, rules, sweeps=1)
    moved = np.linalg.norm(places(fitted) - places(atoms))
    assert 0.9 * rules.radius_px < moved < rules.radius_px + 1e-9
    assert heights(fitted)[0] < 4 * volume[12, 12, 14]


def test_strong_maxima_are_atoms_however_many_are_not() -> None:
    rng = np.random.default_rng(6)
    atoms, noise = rng.normal(100, 12, 300), rng.normal(30, 10, 10_000)
    strong = are_strong(np.concatenate([atoms, noise]))
    assert strong[:300].mean() > 0.99 and strong[300:].mean() < 0.04
    assert are_strong(atoms).mean() > 0.99


def mixture_of(place: np.ndarray, score: np.ndarray, *, n_species: int, doubt: float) -> SpecimenMixture:
    """Mixture of maxima that are all apart."""
    apart = np.ones(len(score), bool)
    return specimen_mixture(
        place, score, apart, min_distance=1.6, least_intensity=0.05, n_species=n_species, doubt=doubt
    )


@pytest.mark.parametrize("n_vacuum", [10, 8000])
def test_the_cut_is_that_of_the_specimen(n_vacuum: int) -> None:
    """Whether there is much vacuum around it, whose noise is weaker, or little."""
    rng = np.random.default_rng(7)
    inside = rng.uniform(-12, 12, (1500, 3))
    around = rng.uniform(-40, 40, (4 * n_vacuum, 3))
    around = around[abs(around).max(axis=1) > 15][:n_vacuum]
    score = np.concatenate(
        [
            rng.normal(90, 10, 300),
            rng.normal(140, 10, 200),
            rng.gamma(12, 4, 1000),
            rng.gamma(9, 3.4, n_vacuum),
        ]
    )
    place = np.concatenate([inside, around])
    found = mixture_of(place, score, n_species=2, doubt=0.5)
    mixture, chosen, specimen = found.mixture, found.inside, found.specimen
    np.testing.assert_allclose(mixture.mean, [90, 140], rtol=0.04)
    assert 68 < least_score(score, mixture, 0.5) < 82
    assert chosen[:500].mean() > 0.95 and chosen[1500:].sum() <= max(10, 0.1 * n_vacuum)
    assert specimen[:1500].mean() > 0.98 and specimen[1500:].mean() < (0.05 if n_vacuum > 1000 else 1.1)


@pytest.mark.parametrize("n_shell", [0, 400])
def test_the_specimen_grows_into_a_shell_of_light_atoms_but_not_into_noise(n_shell: int) -> None:
    """Although the cut, set so low on purpose, lets many maxima of the noise in the vacuum pass."""
    rng = np.random.default_rng(9)
    core = rng.uniform(-10, 10, (1300, 3))
    shell = rng.uniform(-17, 17, (20 * n_shell, 3))
    shell = shell[abs(shell).max(axis=1) > 10][:n_shell]
    vacuum = rng.uniform(-48, 48, (9_000, 3))
    vacuum = vacuum[abs(vacuum).max(axis=1) > 18]
    score = np.concatenate(
        [
            rng.normal(140, 10, 200),
            rng.normal(65, 10, 300),
            rng.gamma(9, 3.4, 800),
            rng.normal(65, 10, n_shell),
            rng.gamma(9, 3.4, len(vacuum)),
        ]
    )
    found = mixture_of(np.concatenate([core, shell, vacuum]), score, n_species=2, doubt=0.95)
    mixture, specimen = found.mixture, found.specimen
    first = 1300 + n_shell
    assert (score[first:] >= least_score(score, mixture, 0.95)).mean() > 0.05
    assert specimen[:1300].mean() > 0.97 and specimen[first:].mean() < 0.1
    assert not n_shell or specimen[1300:first].mean() > 0.75


def test_few_heavy_atoms_among_many_light_ones_are_species() -> None:
    rng = np.random.default_rng(8)
    means, counts = [75, 168, 220], [250, 74, 83]
    score = np.concatenate([rng.normal(mean, 5, n) for mean, n in zip(means, counts, strict=True)])
    score = np.concatenate([score, rng.gamma(3, 6, 350)])
    place = rng.uniform(0, 30, (len(score), 3))
    mixture = mixture_of(place, score, n_species=3, doubt=0.5).mixture
    np.testing.assert_allclose(mixture.mean, means, rtol=0.03)


def test_covalent_radii_are_those_of_ase() -> None:
    assert len(COVALENT_RADII_A) == 96
    for symbol, radius_A in COVALENT_RADII_A.items():
        assert radius_A == pytest.approx(ase.data.covalent_radii[ase.data.atomic_numbers[symbol]])


@pytest.mark.parametrize(
    ("species", "bond_A", "least_A"),
    [
        (("Si", "O"), 1.77, 1.3275),
        (("O", "Ti", "Sr"), 2.26, 1.6),
        (("C",), 1.52, 1.14),
        (("Ta",), 3.40, 1.6),
        (("Rf",), np.inf, 1.6),
    ],
)
def test_the_least_distance_follows_from_the_elements(
    species: tuple[str, ...], bond_A: float, least_A: float
) -> None:
    assert shortest_bond_A(species) == pytest.approx(bond_A)
    criteria = TraceRequest(species).rules(PIXEL_A).cleaning
    assert criteria.min_distance_A == pytest.approx(least_A)
    assert criteria.merge_distance_A == pytest.approx(min(1.1, least_A))
    assert TraceRequest(2).rules(PIXEL_A).cleaning.min_distance_A == 1.6
    given = TraceRequest(species, min_distance=Length(2, "px")).rules(PIXEL_A)
    assert given.cleaning.min_distance_A == 1.0


def test_rules_by_default_leave_the_width_to_the_volume() -> None:
    assert TraceRules().freedom is None and TraceRequest().rules(PIXEL_A).freedom is None
