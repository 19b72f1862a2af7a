"""Number of components and their spectra, of a specimen whose components are known."""

import numpy as np
import pytest

from etcli.core.spectra.components import block_edge, blocks_of, component_curve
from etcli.core.spectra.counts import SpectrumCounts
from etcli.core.spectra.factorisation import factorise
from tests.spectrum_images import ground, pure, record

pytest.importorskip("sklearn", reason="components need scikit-learn")


@pytest.fixture(scope="module")
def counts() -> SpectrumCounts:
    return SpectrumCounts.of(record())


@pytest.mark.parametrize("scaled", [False, True])
def test_the_number_of_components_is_found(counts: SpectrumCounts, scaled: bool) -> None:
    # the film of Ti and O, the particles of Fe and Mo with their background, and copper everywhere
    curve = component_curve(counts, scaled=scaled)
    assert curve.best == 4
    assert curve.deviance[curve.n == 3] > 20


def test_blocks_have_enough_counts(counts: SpectrumCounts) -> None:
    edge_px = block_edge(counts)
    assert edge_px == 3  # 40 counts a pixel
    assert blocks_of(counts, edge_px).sum() == counts.total


@pytest.mark.parametrize("scaled", [False, True])
def test_spectra_of_a_mixture_are_found(scaled: bool) -> None:
    rng = np.random.default_rng(4)
    spectra = np.stack([pure("Fe"), pure("Mo"), ground()])
    weights = rng.gamma(0.3, 400.0, (600, 3))
    found_weights, found = factorise(rng.poisson(weights @ spectra), 3, scaled=scaled)
    found = found / np.linalg.norm(found, axis=1, keepdims=True)
    true = spectra / np.linalg.norm(spectra, axis=1, keepdims=True)
    assert (true @ found.T).max(axis=1) == pytest.approx(1, abs=0.03)
    assert found_weights.shape == (600, 3)
