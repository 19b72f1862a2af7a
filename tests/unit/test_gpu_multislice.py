"""The multislice misfit in array operations, on a GPU and on the host, against the kernels for the CPU."""

import numpy as np
import pytest

from etcli.core.gpu import GPU
from etcli.core.multislice import fftw
from etcli.core.multislice.array_misfit import ArrayMisfit, bytes_of_tilt, least_bytes
from etcli.core.multislice.backends import make_misfit
from etcli.core.multislice.misfit import MultisliceMisfit
from etcli.core.multislice.optics import PhaseContrastOptics
from etcli.core.multislice.projection import phase_contrast_images
from etcli.core.multislice.refinement import ViewRefinement
from etcli.core.projectors.slab import HOST
from etcli.core.solvers.fista import FistaState
from etcli.core.solvers.methods import MethodParameters
from etcli.core.solvers.multislice import solve_volume
from etcli.core.solvers.steps import on_host
from tests.gpu import relative

OPTICS = PhaseContrastOptics(300.0, aperture_mrad=19.0, cs_mm=0.01, astigmatism_A=20.0, astigmatism_deg=30.0)
BLURRED = PhaseContrastOptics(300.0, aperture_mrad=19.0, focal_spread_A=20.0, convergence_mrad=0.5)
SHAPE = (14, 18, 12)


def specimen() -> np.ndarray:
    """A few atoms, in V."""
    rng = np.random.default_rng(2)
    volume = np.zeros(SHAPE)
    grid = np.indices(SHAPE)
    for at in rng.uniform(4, np.array(SHAPE) - 5, (5, 3)):
        volume += 60 * np.exp(-((grid - at.reshape(3, 1, 1, 1)) ** 2).sum(axis=0) / 2)
    return volume.astype(np.float32)


def series(optics: PhaseContrastOptics = OPTICS, n_tilts: int = 6, **how: object) -> dict[str, object]:
    """Arguments of a misfit to images of the specimen, the last of which is missing."""
    tilt, defocus = np.repeat(np.linspace(-60, 70, n_tilts), 2), np.tile([150.0, 300.0], n_tilts)
    shift = np.random.default_rng(5).uniform(-1, 1, (len(tilt), 2))
    how = {"pixel_A": 0.5, "shape": SHAPE, "binned_slices": 4, "shift_px": shift} | how
    blank = np.ones((len(tilt), 16, 22), np.float32)
    model = MultisliceMisfit(blank, tilt, defocus, optics, **how)
    images = np.stack([model.image(specimen(), k) for k in range(len(tilt))])
    how["shift_px"] = shift[:-1]
    return {"images": images[:-1], "tilt_deg": tilt[:-1], "defocus_A": defocus[:-1], "optics": optics, **how}


@pytest.mark.parametrize("likelihood", ["poisson", "amplitude"])
@pytest.mark.parametrize("optics", [OPTICS, BLURRED])
@pytest.mark.parametrize("memory", [None, 0])
def test_steps_are_those_of_the_cpu(gpu, likelihood, optics, memory) -> None:
    """With tilts together and one by one, matrices kept and made anew, and parameters that change."""
    scene = series(optics, likelihood=likelihood)
    volume = np.random.default_rng(3).uniform(0, 30, SHAPE).astype(np.float32)
    for device in (HOST, GPU):
        cpu = MultisliceMisfit(**scene)
        there = ArrayMisfit(**scene, device=device, memory=memory)
        assert (there.norm, there.size) == (cpu.norm, cpu.size)
        assert there.tilt_deg.tolist() == cpu.tilt_deg.tolist()
        for change in (0.0, 3.0):
            for misfit in (cpu, there):
                misfit.defocus_A += change
                misfit.shift_px[:, 0] += change / 20
            moved = device.put(volume.copy())
            assert there.residual(moved) == pytest.approx(cpu.residual(volume), rel=1e-5)
            for views in ([2], [4, 1, 5], list(range(6))):
                gradient, cost = there.of_views(views).gradient(moved)
                expected, expected_cost = cpu.of_views(views).gradient(volume)
                assert cost == pytest.approx(expected_cost, rel=1e-5)
                assert relative(gradient, expected) < 2e-5
                after = device.put(volume.copy())
                assert there.of_views(views).descend(after, 5 / cpu.norm) == pytest.approx(cost, rel=1e-6)
                assert relative(after, volume - np.float32(5 / cpu.norm) * expected) < 1e-5
        np.testing.assert_allclose(there.image(moved, 3), cpu.image(volume, 3), atol=2e-5)
        new = np.full(scene["images"].shape[:0:-1], 0.7, np.float32)
        for misfit in (cpu, there):
            misfit.set_image(4, new)
        assert there.residual(moved) == pytest.approx(cpu.residual(volume), rel=1e-5)
        assert there.size == cpu.size


@pytest.mark.parametrize("prior", ["tv", "l1", "none"])
def test_reconstructions_are_those_of_the_cpu(gpu, prior) -> None:
    """Interrupted and gone on with from arrays of the host, and with defoci refined on the way."""
    parameters = MethodParameters(
        "multislice", iterations=6, subset_size=2, prior=prior, lower=0.0, weight_from_noise=prior != "none"
    )
    cpu, there = MultisliceMisfit(**series()), ArrayMisfit(**series(), device=GPU)
    found = []
    for misfit, device in ((cpu, HOST), (there, GPU)):
        kept = Kept()
        first = specimen() / 2
        volume = solve_volume(parameters, misfit, zeros=device.zeros, initial=first, keep=kept)
        again = solve_volume(parameters, misfit, zeros=device.zeros, start=kept.states[2])
        np.testing.assert_array_equal(on_host(again), on_host(volume))
        residual, between = misfit.residual(volume), ViewRefinement(misfit, ["defocus"])
        refined = solve_volume(parameters, misfit, zeros=device.zeros, between=between)
        found.append((on_host(volume), residual, on_host(refined)))
    (volume, residual, refined), (array_volume, array_residual, array_refined) = found
    assert 0 < residual < 0.4 * cpu.size
    assert relative(array_volume, volume) < 1e-3
    assert array_residual == pytest.approx(residual, rel=1e-3)
    assert relative(array_refined, refined) < 5e-3
    np.testing.assert_allclose(there.defocus_A, cpu.defocus_A, atol=0.05)
    assert np.ptp(cpu.defocus_A[::2]) > 0.1


class Kept:
    """States copied to the host, as a file has them."""

    def __init__(self) -> None:
        self.states: list[FistaState] = []

    def __call__(self, state: FistaState) -> None:
        volume, ahead = (on_host(array).copy() for array in (state.volume, state.ahead))
        dual = None if state.dual is None else on_host(state.dual).copy()
        self.states.append(FistaState(state.sweep, volume, ahead, state.momentum, dual))


@pytest.mark.parametrize("optics", [OPTICS, BLURRED])
def test_memory_is_that_which_was_planned(stand_in, optics) -> None:
    import cupy

    scene = series(optics, binned_slices=2)
    cpu = MultisliceMisfit(**scene)
    n_images = [len(images) for images in cpu.tilts]
    least = least_bytes(cpu.geometry, optics, n_images)
    for memory in (least, least + 3 * bytes_of_tilt(cpu.geometry, 2)):
        volume, gradient = GPU.put(specimen()), GPU.zeros(SHAPE)
        before = cupy.Memory.peak = cupy.Memory.used
        misfit = ArrayMisfit(**scene, device=GPU, memory=memory)
        for tilts in misfit._batches():
            misfit._add_gradient(volume, tilts, gradient, 1.0)
        used = cupy.Memory.peak - before - cpu.images.nbytes
        assert 0.3 * memory < used < memory
        del misfit


def test_projections_are_those_of_the_cpu(gpu) -> None:
    known = (specimen().swapaxes(1, 2), [-40.0, 25.0, 25.0], [150.0, 150.0, 300.0], OPTICS)
    expected, found = (
        phase_contrast_images(*known, pixel_A=0.5, binned_slices=4, device=device) for device in (HOST, GPU)
    )
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_the_cpu_without_fftw_uses_arrays(monkeypatch) -> None:
    scene = series()
    fast = make_misfit(**scene)
    assert isinstance(fast, MultisliceMisfit)
    expected = fast.residual(specimen() / 2)
    monkeypatch.setattr(fftw, "_library", lambda: None)
    slow = make_misfit(**scene, threads=2)
    assert isinstance(slow, ArrayMisfit)
    assert slow.residual(specimen() / 2) == pytest.approx(expected, rel=1e-5)
