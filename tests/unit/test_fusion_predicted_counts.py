"""Counts of one series in two parts: which of them, and what is expected of each."""

import numpy as np
import pytest

from etcli.core.fusion.predicted_counts import MANY_COUNTS, divided
from etcli.core.fusion.problem import fusion_problem
from etcli.core.geometry import SliceGeometry

TILTS = np.linspace(-60, 60, 13)
FEW, MANY = 4.0, 5.0 * MANY_COUNTS


def drawn(level, background=0.0):
    """Return counts of a box, and its volume (z, y, x)."""
    x = np.zeros((6, 8, 12), np.float32)
    x[1:5, 1:7, 3:9] = level / 5
    geometry = SliceGeometry(TILTS, 12, 6, 12)
    mean = fusion_problem([np.zeros((13, 8, 12))], geometry).project(x) + background
    counts = np.random.default_rng(0).poisson(mean).astype(np.float32)
    return x, fusion_problem([counts], geometry, background=background), counts


@pytest.mark.parametrize(("level", "left_out"), [(FEW, 0), (MANY, 2)])
def test_every_count_is_fitted_or_predicted(level, left_out):
    _, _, counts = drawn(level)
    parts = divided(counts, TILTS)
    assert np.array_equal(parts.fitted + parts.others, counts)
    without = ~parts.fitted.any(axis=(1, 2))
    assert without.sum() == left_out and np.array_equal(parts.share == 0, without)
    assert parts.fitted.sum() / counts[~without].sum() == pytest.approx(0.8, abs=0.02)
    assert parts.fraction == pytest.approx(0.8 * (13 - left_out) / 13)
    # the two parts are independent: what one has too many does not tell of the other
    if not left_out:
        mean = counts.mean(axis=0)
        a, b = (part - share * mean for part, share in ((parts.fitted, 0.8), (parts.others, 0.2)))
        lit = mean > 1
        assert abs(np.corrcoef(a[:, lit].ravel(), b[:, lit].ravel())[0, 1]) < 0.1


@pytest.mark.parametrize("level", [FEW, MANY])
def test_the_truth_predicts_both_parts_background_included(level):
    """The deviance of the true volume is that of Poisson numbers: about half a nat a pixel."""
    x, problem, counts = drawn(level, background=8.0)
    parts = divided(counts, TILTS)
    for part, counted in ((parts.train(problem), parts.fitted), (parts.test(problem), parts.others)):
        used = part.gains > 0
        (deviance,) = part.of_views(used).deviance(x[None], [parts.scales[0]])
        assert deviance / counted[used].size == pytest.approx(0.5, abs=0.1)
        mean = part.expected(0, x, 1.0)[used]
        assert mean.sum() == pytest.approx(counted[used].sum(), rel=0.03)


def test_a_few_views_are_all_used():
    _, _, counts = drawn(MANY)
    assert divided(counts[:7], TILTS[:7]).share.all()
