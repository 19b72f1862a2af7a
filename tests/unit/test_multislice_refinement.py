"""Refinement of images during a phase-contrast reconstruction, and the reconstruction itself."""

import numpy as np
import pytest

from etcli.core.errors import UsageError
from etcli.core.multislice.misfit import MultisliceMisfit
from etcli.core.multislice.optics import PhaseContrastOptics
from etcli.core.multislice.refinement import ViewRefinement, correlation_peak, rotated_back, shrunk
from etcli.core.solvers.fista import FistaState
from etcli.core.solvers.methods import MethodParameters
from etcli.core.solvers.multislice import LeftOutTilts, solve_volume

OPTICS = PhaseContrastOptics(300.0)
N, IMAGE, PIXEL_A = 24, 48, 0.5
TILTS = np.repeat(np.arange(-90.0, 90.0, 6.0), 2)
DEFOCI = np.tile([150.0, 500.0], 30)


def specimen() -> np.ndarray:
    """Potential of 30 atoms without order, (nz, nx, ny), at least 2 Å apart, within the cylinder."""
    rng = np.random.default_rng(5)
    atoms: list[np.ndarray] = []
    while len(atoms) < 30:
        place = rng.uniform(-4.2, 4.2, 3) / PIXEL_A
        if np.linalg.norm(place) < 8.4 and all(np.linalg.norm(place - other) > 4 for other in atoms):
            atoms.append(place)
    grid = np.indices((N, N, N)) - (N - 1) / 2
    volume = np.zeros((N, N, N), np.float32)
    for z, x, y in atoms:
        volume += 150 * np.exp(-((grid[0] - z) ** 2 + (grid[1] - x) ** 2 + (grid[2] - y) ** 2) / (2 * 0.8**2))
    return volume


def recorded(volume: np.ndarray, *, shift_px: np.ndarray | None = None) -> np.ndarray:
    """Images of the specimen, displaced."""
    blank = np.ones((len(TILTS), IMAGE, IMAGE), np.float32)
    model = MultisliceMisfit(
        blank, TILTS, DEFOCI, OPTICS, pixel_A=PIXEL_A, shape=volume.shape, shift_px=shift_px
    )
    return np.stack([model.image(volume, k) for k in range(len(TILTS))])


def misfit_to(images: np.ndarray, defocus_A: np.ndarray = DEFOCI) -> MultisliceMisfit:
    return MultisliceMisfit(images, TILTS, defocus_A, OPTICS, pixel_A=PIXEL_A, shape=(N, N, N))


def without_common(shift_px: np.ndarray) -> np.ndarray:
    """Shifts less what a shift of the specimen would cause."""
    across = np.stack([np.cos(np.deg2rad(TILTS)), np.sin(np.deg2rad(TILTS))], axis=1)
    x = shift_px[:, 0] - across @ np.linalg.lstsq(across, shift_px[:, 0], rcond=None)[0]
    return np.stack([x, shift_px[:, 1] - shift_px[:, 1].mean()], axis=1)


def test_a_potential_is_recovered() -> None:
    volume = specimen()
    misfit, residuals, weights = misfit_to(recorded(volume)), [], []
    parameters = MethodParameters("multislice", iterations=12, prior="tv", weight_from_noise=True, seed=1)
    found = solve_volume(
        parameters, misfit, lambda k, residual, x: residuals.append(residual), used_weight=weights.append
    )
    assert residuals[-1] < 0.05 * misfit.size
    assert np.linalg.norm(found - volume) < 0.12 * np.linalg.norm(volume)
    assert found.min() >= 0 and len(weights) == 12 and weights[-1] < weights[0] / 3


@pytest.mark.parametrize("per_step", [1, 8, 30])
def test_steps_of_many_tilts_do_not_diverge(per_step: int) -> None:
    """All tilts at once take more iterations, but each lowers the residual."""
    residuals: list[float] = []
    parameters = MethodParameters("multislice", iterations=10, weight_from_noise=True, subset_size=per_step)
    solve_volume(parameters, misfit_to(recorded(specimen())), lambda k, r, x: residuals.append(r))
    assert (np.diff(residuals) < 0).all()
    assert residuals[-1] < (0.6 if per_step == 30 else 0.1) * residuals[0]


def test_the_wrong_sign_of_defocus_shows() -> None:
    """In the residual where there is no noise; and in tilts left out even where the noise is fitted."""
    clean, electrons = recorded(specimen()), 40.0
    noisy = (np.random.default_rng(0).poisson(clean * electrons) / electrons).astype(np.float32)
    predicted, residual = {}, {}
    for name, images in (("clean", clean), ("noisy", noisy)):
        for sign in (1, -1):
            parameters = MethodParameters("multislice", iterations=12, weight_from_noise=True, seed=1)
            norms: list[float] = []
            left_out = LeftOutTilts.of(30, 12)
            solve_volume(
                parameters,
                misfit_to(images, sign * DEFOCI),
                lambda k, r, x, norms=norms: norms.append(r),
                left_out=left_out,
            )
            noise = 0.0 if name == "clean" else np.sum((np.sqrt(noisy) - np.sqrt(clean)) ** 2) / 6
            agreement = left_out.contrast**2 - left_out.residual**2
            predicted[name, sign] = agreement / (left_out.contrast**2 - noise)
            residual[name, sign] = norms[-1]
    assert residual["clean", -1] > 5 * residual["clean", 1]
    assert residual["noisy", -1] < 1.05 * residual["noisy", 1]
    assert predicted["clean", 1] > 0.9 and predicted["noisy", 1] > 0.5
    assert predicted["clean", -1] < 0.3 and predicted["noisy", -1] < 0.2


def test_which_tilts_are_left_out() -> None:
    assert LeftOutTilts.of(60, 20).tilts.tolist() == [6, 18, 30, 42, 54]
    assert LeftOutTilts.of(60, 20).sweeps == 6 and LeftOutTilts.of(60, 20, refined=True).sweeps == 10
    assert LeftOutTilts.of(60, 8).sweeps == 4
    assert not LeftOutTilts.of(14, 20).tilts.size and not LeftOutTilts.of(60, 5).tilts.size


@pytest.mark.parametrize("threads", [1, 2])
def test_a_kept_state_goes_on_bit_by_bit(threads: int) -> None:
    """With the prior's dual, momentum and corrections of the images; and for any number of threads."""
    images = recorded(specimen(), shift_px=np.random.default_rng(2).uniform(-1, 1, (len(TILTS), 2)))
    parameters = MethodParameters("multislice", iterations=7, weight_from_noise=True, seed=3)
    states: dict[int, tuple[FistaState, object]] = {}

    def run(start: int | None) -> np.ndarray:
        misfit = misfit_to(images)
        misfit.threads = threads
        refinement = ViewRefinement(misfit, ("shifts", "rotation"))

        def keep(state: FistaState) -> None:
            volume, ahead, dual = (np.copy(a) for a in (state.volume, state.ahead, state.dual))
            copied = FistaState(state.sweep, volume, ahead, state.momentum, dual)
            states.setdefault(state.sweep, (copied, refinement.state))
            if start is not None:  # it is not held as long as the solver runs
                released = states[start][0]
                assert released.volume.size == released.ahead.size == 0 and released.dual is None

        if start is not None:
            refinement.state = states[start][1]
        return solve_volume(
            parameters,
            misfit,
            between=refinement,
            keep=keep,
            start=None if start is None else states[start][0],
        )

    whole = run(None)
    assert sorted(states) == [1, 2, 3, 4, 5, 6]
    for sweep in (2, 5):
        np.testing.assert_array_equal(run(sweep), whole)


def test_displaced_images_are_brought_back() -> None:
    shift = np.random.default_rng(0).uniform(-2, 2, (len(TILTS), 2))
    misfit = misfit_to(recorded(specimen(), shift_px=shift))
    refinement = ViewRefinement(misfit, ["shifts"])
    solve_volume(
        MethodParameters("multislice", iterations=16, weight_from_noise=True), misfit, between=refinement
    )
    error = without_common(refinement.corrections.shift_px - shift)
    assert np.abs(error).max() < 0.1 and np.abs(without_common(shift)).max() > 1.5


def test_wrong_defoci_and_rotations_are_found() -> None:
    rng = np.random.default_rng(1)
    wrong, turn = rng.choice([-50.0, 50.0], len(TILTS)), rng.uniform(-1, 1, len(TILTS))
    images = recorded(specimen())
    turned = np.stack([rotated_back(image.T, -angle).T for image, angle in zip(images, turn, strict=True)])
    misfit = misfit_to(turned, DEFOCI + wrong)
    refinement = ViewRefinement(misfit, ["defocus", "rotation"])
    solve_volume(
        MethodParameters("multislice", iterations=16, weight_from_noise=True), misfit, between=refinement
    )
    found = refinement.corrections
    assert np.abs(found.defocus_A - DEFOCI).max() < 5
    assert np.abs(found.rotation_deg - turn).max() < 0.1


def test_a_rotation_of_all_images_is_found() -> None:
    """That of the tilt axis, which the volume follows at first."""
    turned = np.stack([rotated_back(image.T, -1.0).T for image in recorded(specimen())])
    misfit = misfit_to(turned)
    refinement = ViewRefinement(misfit, ["rotation"])
    solve_volume(
        MethodParameters("multislice", iterations=20, weight_from_noise=True), misfit, between=refinement
    )
    assert abs(refinement.corrections.rotation_deg.mean() - 1) < 0.2


def test_unknown_parameters_are_refused() -> None:
    with pytest.raises(UsageError, match=r"shifts, defocus"):
        ViewRefinement(misfit_to(np.ones((len(TILTS), 32, 32), np.float32)), ["shift"])


def test_rotation_of_images() -> None:
    """A spot at +x goes to where it was before a rotation counter-clockwise by 90°, from +y."""
    image = np.ones((9, 9), np.float32)
    image[4, 7] = 5  # [x, y]
    assert rotated_back(image, 90.0)[7, 4] == pytest.approx(5, abs=1e-4)


@pytest.mark.parametrize("at", [(0.0, 0.0), (2.3, -1.6), (-4.0, 5.0)])
def test_correlation_finds_displacements(at: tuple[float, float]) -> None:
    x, y = np.indices((40, 30), float)
    still, moved = (np.exp(-((x - 18 - dx) ** 2 + (y - 14 - dy) ** 2) / 18) for dx, dy in ((0, 0), at))
    for shortest_px in (2.0, 8.0):
        np.testing.assert_allclose(correlation_peak(moved, still, 6, shortest_px)[0], at, atol=0.05)


def test_shrinkage() -> None:
    """Towards the mean without true differences; not where they are large, and never by more than σ."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.1, 2000)
    variance = np.full(2000, 0.01)
    assert np.std(shrunk(3 + noise, variance)) < 0.05
    true = rng.normal(0, 1, 2000)
    np.testing.assert_allclose(shrunk(true + noise, variance), true + noise, atol=0.05)
    outlier = np.zeros(100)
    outlier[7] = 2.0
    assert shrunk(outlier, np.full(100, 0.01))[7] >= 1.9


def test_variance_of_a_correlation() -> None:
    """As it is found among 300 noisy images."""
    x, y = np.indices((40, 30), float)
    still = np.exp(-((x - 18) ** 2 + (y - 14) ** 2 / 2) / 18)
    rng = np.random.default_rng(3)
    found, variance = zip(
        *(correlation_peak(still + rng.normal(0, 0.2, still.shape), still, 6, 4.0) for _ in range(300)),
        strict=True,
    )
    np.testing.assert_allclose(np.mean(variance, axis=0), np.var(found, axis=0), rtol=0.25)


def test_noise_does_not_displace_aligned_images() -> None:
    electrons = 40.0
    noisy = np.random.default_rng(0).poisson(recorded(specimen()) * electrons) / electrons
    misfit = misfit_to(noisy.astype(np.float32))
    refinement = ViewRefinement(misfit, ["shifts"])
    solve_volume(
        MethodParameters("multislice", iterations=12, weight_from_noise=True), misfit, between=refinement
    )
    assert np.sqrt(np.mean(refinement.corrections.shift_px**2)) < 0.3
