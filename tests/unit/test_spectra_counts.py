"""Counts of spectra: kept, summed over blocks and channels, thinned."""

import numpy as np
import pytest

from etcli.core.errors import DataError
from etcli.core.spectra.counts import SpectrumCounts, ViewCounts

RNG = np.random.default_rng(3)
SPECTRA = RNG.poisson(0.2, (3, 7, 5, 40)).astype(np.uint16)


@pytest.fixture(scope="module")
def counts() -> SpectrumCounts:
    return SpectrumCounts.of(SPECTRA)


def test_sums_are_those_of_the_array(counts: SpectrumCounts) -> None:
    weights = RNG.normal(size=(40, 2))
    assert counts.total == SPECTRA.sum()
    assert np.array_equal(counts.sum_spectrum(), SPECTRA.sum(axis=(0, 1, 2)))
    assert np.allclose(counts.sums(weights, threads=2), np.moveaxis(SPECTRA @ weights, -1, 0), atol=1e-4)


def test_blocks_of_pixels(counts: SpectrumCounts) -> None:
    blocks = counts.block_sums(3).reshape(3, 3, 2, 40)
    assert np.array_equal(blocks[1, 0, 1], SPECTRA[1, :3, 3:].sum(axis=(0, 1)))
    assert np.array_equal(blocks[2, 2, 0], SPECTRA[2, 6:, :3].sum(axis=(0, 1)))


def test_joined_rows_are_those_of_the_whole(counts: SpectrumCounts) -> None:
    rows = [SPECTRA[0, :2], SPECTRA[0, 2:3], SPECTRA[0, 3:]]
    joined = ViewCounts.joined([ViewCounts.of(part.reshape(-1, 40), where="") for part in rows])
    for name in ("start", "channel", "count"):
        assert np.array_equal(getattr(joined, name), getattr(counts.views[0], name))


def test_thinning_keeps_the_sum_and_gives_independent_poisson_parts() -> None:
    mean, n = 4.0, 200_000
    whole = SpectrumCounts.of(np.random.default_rng(1).poisson(mean, (1, n // 40, 1, 40)).astype(np.uint16))
    first, second = whole.thinned(0.8, seed=5)
    a, b = first.views[0].count.astype(float), second.views[0].count.astype(float)
    assert np.array_equal(a + b, whole.views[0].count)
    assert a.sum() / whole.total == pytest.approx(0.8, abs=4 * np.sqrt(0.16 / whole.total))
    # counts of 0 are not kept, so they are put back
    a, b = (np.concatenate([part, np.zeros(n - len(part))]) for part in (a, b))
    assert a.var() / a.mean() == pytest.approx(1, abs=0.02)
    assert b.var() / b.mean() == pytest.approx(1, abs=0.02)
    assert abs(np.corrcoef(a, b)[0, 1]) < 5 / np.sqrt(n)


def test_the_seed_chooses_the_parts(counts: SpectrumCounts) -> None:
    def drawn(seed: int) -> np.ndarray:
        return np.concatenate([view.count for view in counts.thinned(0.5, seed=seed)[0].views])

    assert np.array_equal(drawn(1), drawn(1))
    assert not np.array_equal(drawn(1), drawn(2))


def test_photons_of_neighbours_are_drawn_independently() -> None:
    ones = SpectrumCounts.of(np.ones((1, 300, 1, 64), np.uint16))
    drawn = ones.thinned(0.5)[0].views[0].count.reshape(300, 64).astype(float) - 0.5
    spectrum = abs(np.fft.fft2(drawn)) ** 2 / (0.25 * drawn.size)
    assert spectrum.max() < 16  # of 19 200 values that are exponential where the draw is white


@pytest.mark.parametrize(
    ("value", "what"), [(-1.0, "negative"), (0.5, "fractional"), (np.nan, "NaN"), (1e5, "65535")]
)
def test_what_are_no_counts(value: float, what: str) -> None:
    wrong = SPECTRA.astype(np.float64)
    wrong[1, 2, 3, 4] = value
    with pytest.raises(DataError, match=rf"si: view 2: .*{what}"):
        SpectrumCounts.of(wrong, name="si")


def test_whole_numbers_of_any_type_are_counts(counts: SpectrumCounts) -> None:
    for kind in (np.uint8, np.int32, np.float32):
        assert np.array_equal(SpectrumCounts.of(SPECTRA.astype(kind)).views[1].count, counts.views[1].count)


def test_another_shape() -> None:
    with pytest.raises(DataError, match="shape"):
        SpectrumCounts.of(SPECTRA[0])
