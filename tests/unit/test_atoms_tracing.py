"""From volumes of known atoms to atoms, and clear words where there are none."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from etcli.core.atoms.candidates import find_candidates
from etcli.core.atoms.gaussian_fit import places, sigmas
from etcli.core.atoms.peaks import (
    difference_of_gaussians,
    find_peaks,
    high_percentile,
    noise_below_zero,
    root_mean_square,
    smoothed,
    spaced,
)
from etcli.core.atoms.tracing import TraceRules, trace
from etcli.core.errors import DataError
from tests.gaussians import bound_px, gaussian_volume, jittered, nearest, noisy

PIXEL_A, SIGMA = 0.4, 1.25


def traced(volume, pixel_A=PIXEL_A, **rules):
    return trace(np.array(volume, np.float32, order="C"), pixel_A, TraceRules(**rules))


@pytest.fixture(scope="module")
def crystal():
    """Places of 343 atoms 2.4 Å apart, a volume of them, and the same in noise."""
    true = jittered(7, step=6, spread=0.4)
    volume = gaussian_volume(true, (48, 49, 47), sigma_px=SIGMA)
    return true, volume.astype(np.float32), noisy(volume, 0.1)


@pytest.fixture(scope="module")
def plain(crystal):
    """What is found of the crystal in noise."""
    return traced(crystal[2])


@pytest.mark.parametrize("noise", [0.05, 0.15, 0.3])
def test_isolated_atoms_are_as_certain_as_the_noise_allows(noise):
    true = jittered(7, step=9)
    found = traced(noisy(gaussian_volume(true, (72, 72, 72), sigma_px=SIGMA), noise))
    error, distance = nearest(places(found.fitted), true)
    assert 0.99 * len(true) <= len(found.fitted) <= len(true)
    assert np.sqrt(np.mean(error[distance < 2] ** 2)) < 1.2 * bound_px(noise, SIGMA)
    assert found.sigma_A == pytest.approx(SIGMA * PIXEL_A, rel=0.05)
    assert found.snr == pytest.approx(1 / noise, rel=0.25)


def test_without_noise_nothing_is_wrong(crystal):
    true, volume, _ = crystal
    found = traced(volume)
    error, _ = nearest(places(found.fitted), true)
    assert len(found.fitted) == len(true) and abs(error).max() < 2e-3
    assert found.probability.min() > 0.99 and (found.kind == 0).all()
    # sampled kernels smooth less than they should
    assert sigmas(found.fitted).min() > SIGMA and sigmas(found.fitted).max() < found.rules.sigma_px


def test_close_pairs_are_told_apart():
    """1.6 Å on voxels of 0.5 Å."""
    first = jittered(3, step=12)
    way = np.random.default_rng(3).normal(size=first.shape)
    true = np.concatenate([first, first + 3.25 * way / np.linalg.norm(way, axis=1, keepdims=True)])
    found = traced(noisy(gaussian_volume(true, (48, 48, 48), sigma_px=1.0), 0.03), 0.5)
    assert len(found.fitted) == len(true)
    assert nearest(places(found.fitted), true)[1].max() < 0.3


def test_atoms_at_and_beyond_the_border_are_found():
    inside = jittered(2, step=12)
    true = np.concatenate([inside, [[-0.4, 12, 20], [12, 35.3, 20], [20, 12, 0.2]]])
    found = traced(noisy(gaussian_volume(true, (36, 36, 36), sigma_px=SIGMA), 0.02))
    assert len(found.fitted) == len(true)
    assert nearest(places(found.fitted), true)[1].max() < 0.2


@pytest.mark.parametrize("rules", [{"detect": "dog"}, {"freedom": "shared"}, {"freedom": "elliptical"}])
def test_other_rules_find_them_too(crystal, rules):
    true, _, noise = crystal
    found = traced(noise, **rules)
    assert len(found.fitted) == len(true)
    assert np.sqrt(np.mean(nearest(places(found.fitted), true)[0] ** 2)) < 1.5 * bound_px(0.1, SIGMA)


def test_threads_change_nothing(crystal, plain):
    several = trace(crystal[2].copy(), PIXEL_A, TraceRules(), threads=3)
    np.testing.assert_array_equal(several.fitted, plain.fitted)
    np.testing.assert_array_equal(several.score, plain.score)


def test_turning_and_scaling_the_volume_turns_and_scales_the_atoms(crystal, plain):
    _, _, volume = crystal
    there = places(plain.fitted)
    turned = 1000 * volume.transpose(2, 0, 1)[:, ::-1]
    found = places(traced(turned).fitted)
    # z, y and x of the turned volume are x, mirrored z, and y of the plain one
    back = np.stack([found[:, 2], found[:, 0], volume.shape[0] - 1 - found[:, 1]], axis=1)
    assert nearest(back, there)[1].max() < 5e-3 and len(found) == len(there)
    padded = np.pad(volume, ((2, 3), (4, 1), (3, 5)))
    assert nearest(places(traced(padded).fitted) - [3, 4, 2], there)[1].max() < 0.03


def test_number_and_threshold_are_followed(crystal):
    true, volume, noise = crystal
    assert len(traced(noise, expected=100).fitted) == 100
    assert len(traced(noise, threshold=0.4).fitted) == len(true)
    with pytest.raises(DataError, match="fewer than the 10000 atoms expected"):
        traced(volume, expected=10000)
    with pytest.raises(DataError, match="none of the maxima is an atom"):
        traced(noise, threshold=1e6)


def test_rules_take_away_what_they_say(crystal):
    _, _, noise = crystal
    alone = np.pad(noise, ((0, 0), (0, 0), (0, 30)))
    alone += gaussian_volume([67, 20, 20], alone.shape, sigma_px=SIGMA).astype(np.float32)
    usual = traced(alone)
    rules = replace(TraceRules().cleaning, least_neighbours=3)
    cleaned = traced(alone, cleaning=rules)
    assert len(cleaned.fitted) == len(usual.fitted) - 1
    (gone,) = [rule.count for rule in cleaned.removed if "neighbours" in rule.rule]
    assert gone == 1


@pytest.mark.parametrize("n_species", [3, None])
def test_species_are_told_apart_by_their_heights(n_species):
    true = jittered(8, step=6, spread=0.4)
    kind = np.random.default_rng(4).integers(0, 3, len(true))
    height = np.array([0.35, 0.6, 1.0])[kind]
    volume = noisy(gaussian_volume(true, (54, 54, 54), sigma_px=SIGMA, height=height), 0.04)
    found = traced(volume, n_species=n_species)
    place = places(found.fitted)
    assert len(place) == len(true)
    of = np.linalg.norm(place[:, None] - true, axis=2).argmin(axis=1)
    assert (found.kind == kind[of]).mean() > 0.99


def test_one_atom_is_found_and_two_in_a_voxel_are_one():
    one = traced(noisy(gaussian_volume([[11.3, 12.2, 9.8]], (24, 24, 24), sigma_px=SIGMA), 0.05))
    assert len(one.fitted) == 1 and nearest(places(one.fitted), [[11.3, 12.2, 9.8]])[1] < 0.2
    pair = [[11.3, 12.2, 9.8], [11.7, 12.0, 10.0]]
    both = traced(noisy(gaussian_volume(pair, (24, 24, 24), sigma_px=SIGMA), 0.05))
    assert len(both.fitted) == 1


def noise_fields(size, seed):
    white = np.random.default_rng(seed).normal(size=(size,) * 3)
    uniform = np.random.default_rng(seed).random((size,) * 3)
    yield from (white, white.clip(0), white + 10, uniform)
    for sigma in (1.0, 1.5):
        wide = ndimage.gaussian_filter(white, sigma)
        yield from (wide, wide + 10 * wide.std())
        if size > 24 * sigma:  # a handful of maxima may well be of similar heights
            yield wide.clip(0)
    yield np.random.default_rng(seed).poisson(0.1, (size,) * 3)


@pytest.mark.parametrize(("size", "seed"), [(24, 0), (24, 1), (40, 2)])
def test_no_atoms_are_found_in_noise(size, seed):
    for volume in noise_fields(size, seed):
        with pytest.raises(DataError, match=r"noise|none of the maxima"):
            traced(volume)


def test_blurred_atoms_are_no_atoms():
    atoms = gaussian_volume(jittered(4), (40, 40, 40), sigma_px=SIGMA)
    blurred = noisy(ndimage.gaussian_filter(atoms, 4.5), 0.001)
    with pytest.raises(DataError, match="times as wide as atoms; is the volume blurred"):
        traced(blurred)


def test_volumes_without_atoms_are_refused_in_a_sentence():
    with pytest.raises(DataError, match="every voxel is 3, so there is nothing to find"):
        traced(np.full((9, 9, 9), 3.0))
    with pytest.raises(DataError, match="no maximum stands out"):
        traced(-gaussian_volume([[8, 8, 8]], (17, 17, 17)))
    volume = gaussian_volume([[8, 8, 8]], (17, 17, 17))
    with pytest.raises(DataError, match=r"voxels of 2 Å are too coarse"):
        traced(volume, 2.0)
    with pytest.raises(DataError, match=r"voxels of 0.01 Å are too fine"):
        traced(volume, 0.01)


@pytest.mark.parametrize("shape", [(1, 40, 40), (2, 3, 200), (7, 7, 7)])
def test_thin_volumes_do_not_fail(shape):
    volume = gaussian_volume([[shape[2] / 2, shape[1] / 2, shape[0] / 2]], shape, sigma_px=SIGMA)
    try:
        assert len(traced(volume).fitted) == 1
    except DataError as error:
        assert str(error)


def test_smoothing_equals_scipy(crystal):
    volume = crystal[2]
    expected = ndimage.gaussian_filter(volume, 1.3, mode="constant")
    for threads in (1, 3):
        np.testing.assert_array_equal(smoothed(volume, 1.3, threads=threads), expected)
        np.testing.assert_array_equal(smoothed(own := volume.copy(), 1.3, out=own, threads=threads), expected)
    wide = ndimage.gaussian_filter(volume, 2.6, mode="constant")
    np.testing.assert_allclose(difference_of_gaussians(volume, 1.3), expected - wide, atol=1e-6)


def test_sums_and_percentiles_equal_numpy(crystal):
    volume = crystal[2].copy()
    volume[:5] = 0
    for percent in (99.9, 99, 95, 100):
        assert high_percentile(volume, percent) == pytest.approx(np.percentile(volume, percent), rel=1e-6)
    other = np.sort(volume.ravel())[::-1].reshape(volume.shape)  # the strongest where no sample is
    assert high_percentile(other, 99.9) == pytest.approx(np.percentile(volume, 99.9), rel=1e-6)
    assert high_percentile(np.ones((2, 2, 2), np.float32), 99.9) == 1
    below = volume[volume < 0].astype(float)
    assert noise_below_zero(volume) == pytest.approx(np.sqrt((below**2).mean()))
    assert noise_below_zero(abs(volume)) == 0
    assert root_mean_square(volume) == pytest.approx(np.sqrt((volume[volume != 0].astype(float) ** 2).mean()))
    assert root_mean_square(np.zeros((2, 2, 2), np.float32)) == 0


def test_peaks_are_the_maxima_of_26_neighbours():
    volume = np.random.default_rng(1).normal(size=(12, 13, 14)).astype(np.float32)
    place, height = find_peaks(volume, 0.5)
    highest = (ndimage.maximum_filter(volume, 3, mode="constant", cval=-np.inf) == volume) & (volume > 0.5)
    assert sorted(height) == sorted(volume[highest])
    assert (np.diff(height) <= 0).all()
    assert abs(place - np.rint(place)).max() <= 0.5
    # of a plateau one voxel counts
    assert len(find_peaks(np.ones((4, 5, 6), np.float32), 0.5)[0]) == 1
    assert find_peaks(volume, 99)[0].shape == (0, 3)


def test_a_parabola_places_maxima_between_voxels():
    z, y, x = np.mgrid[:9, :9, :9]
    volume = (10 - (x - 4.3) ** 2 - 2 * (y - 3.8) ** 2 - (z - 4.1) ** 2).astype(np.float32)
    np.testing.assert_allclose(find_peaks(volume, 5)[0], [[4.3, 3.8, 4.1]], atol=1e-5)


def test_spaced_places_are_apart_and_the_first_ones_stay():
    place = np.random.default_rng(2).uniform(0, 10, (300, 3))
    chosen = spaced(place, 1.5, taken=place[:3] + 0.1)
    kept = place[chosen]
    distance = np.linalg.norm(kept[:, None] - kept, axis=2)[np.triu_indices(len(kept), 1)]
    assert distance.min() >= 1.5
    others = np.delete(place, chosen, axis=0)
    before = np.concatenate([place[:3] + 0.1, kept])
    assert all(np.linalg.norm(before - other, axis=1).min() < 1.5 for other in others)
    assert chosen[0] > 2 and len(spaced(np.empty((0, 3)), 1.0)) == 0


def test_maxima_of_noise_alone_are_not_candidates():
    white = np.random.default_rng(0).normal(size=(40, 40, 40)).astype(np.float32)
    with pytest.raises(DataError, match="no maximum stands out"):
        find_candidates(white, SIGMA, detect="peaks", apart_px=3)
