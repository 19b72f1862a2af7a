"""The team of threads of the multislice misfit: its meetings, its failures, and results that never differ."""

from collections.abc import Callable

import numpy as np
import pytest

from etcli.core.multislice.misfit import MultisliceMisfit
from etcli.core.multislice.optics import PhaseContrastOptics
from etcli.core.multislice.rotation import SlabRotation
from etcli.core.multislice.team import Team


@pytest.mark.parametrize("size", [1, 2, 5])
def test_nobody_goes_on_before_all_have_met(size: int) -> None:
    rounds = 200
    state, seen = np.zeros(size, int), []

    def work(member: int, meet: Callable[[], None]) -> None:
        for k in range(rounds):
            state[member] = k
            meet()
            seen.append(bool((state == k).all()))
            meet()

    Team(size).run(work)
    assert len(seen) == size * rounds and all(seen)


@pytest.mark.parametrize("failing", [0, 1])
def test_a_failure_ends_the_waiting_of_the_others(failing: int) -> None:
    team = Team(3)

    def work(member: int, meet: Callable[[], None]) -> None:
        meet()
        if member == failing:
            raise ValueError("stop")
        meet()

    with pytest.raises(ValueError, match="stop"):
        team.run(work)
    done = []
    team.run(lambda member, meet: done.append(member))  # the team goes on working
    assert sorted(done) == [0, 1, 2]


@pytest.mark.parametrize("ny", [5, 24, 75])
def test_threads_change_no_digit(ny: int) -> None:
    rng = np.random.default_rng(5)
    volume = rng.uniform(0, 20, (12, 12, ny)).astype(np.float32)
    images = rng.uniform(0.5, 1.5, (10, ny, 12)).astype(np.float32)
    results = []
    for threads in (1, 2, 3):
        misfit = MultisliceMisfit(
            images, np.repeat(np.arange(5) * 30.0, 2), np.tile([100.0, 300.0], 5), PhaseContrastOptics(300.0),
            pixel_A=0.5, shape=volume.shape, binned_slices=4, threads=threads,
        )  # fmt: skip
        moved, order = volume.copy(), [3, 0, 4, 1, 2]
        cost = misfit.in_steps(order, 2).descend(moved, 1 / misfit.norm)
        results.append((cost, moved))
        expected = volume.copy()
        squares = [
            misfit.of_views(part).descend(expected, 1 / misfit.norm) ** 2 for part in ([3, 0], [4, 1], [2])
        ]
        assert cost == pytest.approx(sum(squares) ** 0.5, rel=1e-12)
        assert np.array_equal(moved, expected)
    assert results[0][0] == results[1][0] == results[2][0]
    assert np.array_equal(results[0][1], results[1][1]) and np.array_equal(results[0][1], results[2][1])
    assert not np.array_equal(results[0][1], volume)


@pytest.mark.parametrize("ny", [1, 9, 47, 117])
def test_rows_of_any_length_are_rotated_alike(ny: int) -> None:
    """Rows are added up in vectors of several widths; all of them must give the same digits."""
    rng = np.random.default_rng(6)
    row = rng.normal(size=(9, 9, 1)).astype(np.float32)
    volume = np.repeat(row, ny, axis=2)
    rotation = SlabRotation((9, 9), 9, 3, 3)
    matrix = rotation.matrix(33.0)
    single, many, part = (np.full((3, 9, n), 7, np.float32) for n in (1, ny, ny))
    rotation.slabs(row, matrix, single)
    rotation.slabs(volume, matrix, many)
    assert np.array_equal(many, np.repeat(single, ny, axis=2))
    some = slice(ny // 3, ny // 3 + ny // 2)
    rotation.slabs(volume, matrix, part, columns=some)
    untouched = np.ones(ny, bool)
    untouched[some] = False
    assert np.array_equal(part[..., some], many[..., some]) and (part[..., untouched] == 7).all()
    back, piece = np.zeros_like(volume), np.zeros_like(volume)
    transpose = rotation.transpose(matrix)
    rotation.add_adjoint(many, transpose, back)
    rotation.add_adjoint(many, transpose, piece, columns=some)
    assert np.array_equal(piece[..., some], back[..., some]) and not piece[..., untouched].any()
