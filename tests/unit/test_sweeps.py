"""The proximal gradient loop with other steps, weights, restarts and a hook than those of linear views."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from etcli.core.solvers.fista import fista
from etcli.core.solvers.momentum import FunctionRestart, Momentum
from etcli.core.solvers.priors import Bounds, Sparsity
from etcli.core.solvers.sweeps import Sweep, Update, all_at_once, ordered_subsets

SHAPE = 2, 3, 4
N_VIEWS = 20


@dataclass
class SquaredIntensity:
    """``½ Σ (|a·x|² - y)²`` of one view: not linear, and its own step."""

    rows: np.ndarray
    data: np.ndarray
    order: list[int]
    number: int = 0
    moved: float = 0.0
    threads: int = 1
    shape: tuple[int, int, int] = SHAPE
    norm: float = 1.0
    size: float = 1.0
    tilt_deg: np.ndarray = field(default_factory=lambda: np.zeros(1))

    def residual(self, volume: np.ndarray) -> float:
        seen = (self.rows @ volume.ravel().astype(float)) ** 2 + self.moved
        return float(np.linalg.norm(seen - self.data))

    def descend(self, volume: np.ndarray, step: float) -> float:
        self.order.append(self.number)
        amplitude = self.rows @ volume.ravel().astype(float)
        left = amplitude**2 + self.moved - self.data
        volume -= (step * (self.rows.T @ (2 * amplitude * left))).reshape(SHAPE).astype(np.float32)
        return float(np.linalg.norm(left))


@pytest.fixture
def truth() -> np.ndarray:
    return 1 + np.abs(np.random.default_rng(5).normal(size=SHAPE))


def views(order: list[int], truth: np.ndarray, *, moved: float = 0.0) -> list[SquaredIntensity]:
    rows = np.random.default_rng(6).normal(size=(N_VIEWS, 6, truth.size)) / 5
    return [
        SquaredIntensity(a, (a @ truth.ravel()) ** 2, order, number=k, moved=moved)
        for k, a in enumerate(rows)
    ]


def shuffled(parts: list[SquaredIntensity], step: float):
    """All views one after the other, in another order in every sweep, before the prior has its turn."""

    def rule(k: int) -> Sweep:
        chosen = np.random.default_rng(k).permutation(len(parts))
        return Sweep([Update([parts[i] for i in chosen], [step] * len(parts), norm=1.0)])

    return rule


def test_a_nonlinear_misfit_is_followed_view_by_view(truth: np.ndarray) -> None:
    order: list[int] = []
    parts = views(order, truth)
    found = fista(
        parts[0],
        Bounds(lower=0.0),
        iterations=60,
        initial=np.ones(SHAPE, np.float32),
        steps=shuffled(parts, 0.01),
        restart=FunctionRestart(),
    )
    np.testing.assert_allclose(found, truth, atol=0.01)
    sweeps = np.reshape(order, (60, N_VIEWS))
    assert (np.sort(sweeps) == np.arange(N_VIEWS)).all() and (sweeps[0] != sweeps[1]).any()


def test_a_weight_may_come_from_what_the_steps_changed(truth: np.ndarray) -> None:
    """The rule sees the volume before and after the gradient steps, and its weight is the prior's."""
    parts, seen = views([], truth), []

    def spread(k: int, update: Update, before: np.ndarray, after: np.ndarray) -> float:
        change = float(np.median(np.abs(after - before)))
        seen.append((k, change, len(update.parts)))
        return 0.1 * change

    taken: list[float] = []

    class Recording(Sparsity):
        def minimise(self, volume, weight, *, iterations):
            taken.append(weight)
            super().minimise(volume, weight, iterations=iterations)

    fista(
        parts[0],
        Recording(lower=0.0),
        weight=spread,
        iterations=5,
        initial=np.ones(SHAPE, np.float32),
        steps=shuffled(parts, 0.02),
    )
    assert [k for k, _, _ in seen] == [1, 2, 3, 4, 5] and {n for _, _, n in seen} == {N_VIEWS}
    assert taken == pytest.approx([0.1 * change for _, change, _ in seen])
    assert seen[-1][1] < seen[0][1]


def test_a_hook_refines_what_the_misfit_takes_for_known(truth: np.ndarray) -> None:
    """Here a background that all views have in common, from the residual between sweeps."""
    parts, calls = views([], truth, moved=0.5), []  # the truth has none

    def refine(k: int, volume: np.ndarray) -> bool:
        calls.append(k)
        left = [p.rows @ volume.ravel().astype(float) for p in parts]
        level = np.mean([np.mean(p.data - seen**2) for p, seen in zip(parts, left, strict=True)])
        changed = abs(level - parts[0].moved) > 1e-3
        for part in parts:
            part.moved = float(level)
        return bool(changed)

    found = fista(
        parts[0],
        Bounds(lower=0.0),
        iterations=80,
        initial=np.ones(SHAPE, np.float32),
        steps=shuffled(parts, 0.02),
        between=refine,
    )
    assert calls == list(range(1, 80))  # between sweeps: not after the last
    assert abs(parts[0].moved) < 0.01
    np.testing.assert_allclose(found, truth, atol=0.02)


def test_a_rising_cost_starts_the_momentum_again() -> None:
    momentum = Momentum(1, restart=FunctionRestart())
    volume, ahead = np.zeros((1, 1, 4), np.float32), np.zeros((1, 1, 4), np.float32)
    for cost, looks_ahead in ((5.0, False), (4.0, True), (4.5, False), (4.4, True)):
        new = ahead + np.float32(1)
        momentum.look_ahead(volume, new, ahead, cost=cost)
        assert np.array_equal(ahead, new) != looks_ahead
        volume = new


class Linear:
    """Knows its number of views only."""

    def __init__(self, n_views: int) -> None:
        self.tilt_deg, self.norm = np.linspace(-60, 60, n_views), 2.0 * n_views

    def of_views(self, chosen: np.ndarray) -> "Linear":
        found = Linear(len(chosen))
        found.tilt_deg = self.tilt_deg[chosen]
        return found


def test_ordered_subsets_look_at_every_view_once_a_sweep() -> None:
    rule = ordered_subsets(Linear(21), 20)
    for k in range(1, 16):
        sweep = rule(k)
        angles = np.concatenate([part.tilt_deg for update in sweep.updates for part in update.parts])
        np.testing.assert_allclose(np.sort(angles), np.linspace(-60, 60, 21))
        assert len(sweep.updates) == 4 and not sweep.fresh
    last = [rule(k) for k in range(16, 21)]
    assert [sweep.fresh for sweep in last] == [True, False, False, False, False]
    assert all(len(sweep.updates) == 1 and len(sweep.updates[0].parts[0].tilt_deg) == 21 for sweep in last)


def test_a_step_is_as_long_as_the_views_it_stands_for() -> None:
    rule = ordered_subsets(Linear(20), 20)
    for update in rule(1).updates:
        (part,), (step,) = update.parts, update.steps
        assert step == pytest.approx(20 / len(part.tilt_deg) / update.norm)
    (whole,) = all_at_once(Linear(4))(1).updates
    assert whole.steps == [1 / 8.0] and ordered_subsets(Linear(4), 20)(1).updates[0].steps == [1 / 8.0]
