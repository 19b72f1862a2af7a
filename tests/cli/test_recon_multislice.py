"""``recon --method multislice`` from file to file: results, scale of the images, refusals, resuming."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from scipy.ndimage import shift

import etcli
from tests.files import etcli as run
from tests.files import failure, without_run, write_series
from tests.phase_series import (
    ATOMS_A,
    FOCI_A,
    HOW,
    VIEWS_DEG,
    counted,
    images,
    potential_at,
    write_phase_series,
)

FAST = (*HOW, "--iterations", 3)


@pytest.fixture(scope="module")
def clean() -> np.ndarray:
    return images()


@pytest.fixture
def source(tmp_path: Path, clean: np.ndarray) -> Path:
    return write_phase_series(tmp_path / "s.mrc", clean)


def numbers(*arguments: object) -> dict:
    return json.loads(run("recon", "-q", "--json", *arguments).out)


def volume(path: Path) -> np.ndarray:
    return mrcfile.read(path)


def test_atoms_are_where_they_belong(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "v.mrc"
    done = run("recon", *HOW, "--json", "--plot", tmp_path / "p.png", "--error-curve", tmp_path / "e.csv",
               source, out)  # fmt: skip
    found = json.loads(done.out)
    potential = volume(out)
    assert potential.shape == (24, 32, 24) and potential.min() >= 0
    assert potential_at(potential).min() > 100  # volts; mirrored atoms have none
    assert potential_at(potential, ATOMS_A[1:] * [-1, 1, 1]).max() < 30
    assert (potential > 30).sum() < 8 * 27
    assert found["unexplained"] < 0.02 and found["chi2"] is None and found["border"] < 0.2
    assert found["weight"] == found["weights"][-1] > 0 and len(found["residuals"]) == 20
    assert found["residuals"][-1] < 0.03
    assert "V of the prior, from the noise" in done.err
    assert "unexplained" in done.err and "WARNING" not in done.err
    assert len((tmp_path / "e.csv").read_text().splitlines()) == 21
    with mrcfile.open(out) as mrc:
        method = f"MULTISLICE 20 tv auto {found['weight']:.3g}, 24 views, potential in V"
        assert method in mrc.get_labels()[-1]


def test_noise_is_told_from_signal(tmp_path: Path, clean: np.ndarray) -> None:
    dose = 5000.0
    noisy = write_phase_series(tmp_path / "n.mrc", counted(clean, dose), dose_e_A2=dose)
    found = numbers(*HOW, noisy, tmp_path / "v.mrc")
    assert 0.8 < found["chi2"] < 1.02
    assert found["unexplained"] is None and found["residuals"][-1] > 0.3
    assert potential_at(volume(tmp_path / "v.mrc")).min() > 80


def test_a_wrong_sign_is_suspected(tmp_path: Path, clean: np.ndarray) -> None:
    series = write_phase_series(tmp_path / "s.mrc", clean, VIEWS_DEG, -FOCI_A)
    done = run("recon", *HOW, series, tmp_path / "v.mrc")
    assert "check the signs of defoci and tilt angles" in done.err


def test_a_volume_that_is_too_small_is_noticed(source: Path, tmp_path: Path) -> None:
    done = run(
        "recon",
        *HOW[:4],
        "--thickness",
        "12px",
        "--width",
        "12px",
        "--iterations",
        5,
        source,
        tmp_path / "v.mrc",
    )
    assert "as if the specimen were larger than the volume; give a larger --thickness" in done.err


def test_python_has_the_same(source: Path, tmp_path: Path) -> None:
    run("recon", "-q", *HOW, "--iterations", 10, "--binned-slices", 4, source, tmp_path / "v.mrc")
    result = etcli.reconstruct(
        etcli.read(source),
        method="multislice",
        thickness="24px",
        width="24px",
        iterations=10,
        binned_slices=4,
        session=etcli.Session(threads=1),
    )
    assert np.array_equal(result.volume.images(), volume(tmp_path / "v.mrc"))
    assert result.parameters.weight > 0
    with pytest.raises(etcli.UsageError, match="kv is for --method multislice, not for sirt"):
        etcli.reconstruct(etcli.read(source), kv=200)


def test_the_tilt_axis_may_be_off_centre(tmp_path: Path, clean: np.ndarray) -> None:
    series = write_phase_series(tmp_path / "s.mrc", images(shift_px=2))
    run("recon", "-q", *HOW, "--axis-offset", 2, "--iterations", 10, series, tmp_path / "v.mrc")
    assert potential_at(volume(tmp_path / "v.mrc")).min() > 80


def test_an_initial_volume_is_used(source: Path, tmp_path: Path) -> None:
    run("recon", "-q", *HOW, "--iterations", 10, source, tmp_path / "v.mrc")
    found = numbers(*HOW, "--iterations", 1, "--initial", tmp_path / "v.mrc", source, tmp_path / "w.mrc")
    assert found["residuals"][0] < 0.2


def test_little_memory_gives_the_same_bytes(source: Path, tmp_path: Path) -> None:
    """Waves and matrices are computed again, and arrays are placed on disk."""
    run("recon", "-q", *FAST, source, tmp_path / "v.mrc")
    for memory in ("1800K", "900K"):
        done = run("recon", *FAST, "--memory", memory, source, tmp_path / "w.mrc")
        assert ("exceed --memory and are placed in files" in done.err) == (memory == "900K")
        assert without_run(tmp_path / "w.mrc") == without_run(tmp_path / "v.mrc")


def test_half_sets_take_every_second_tilt(source: Path, tmp_path: Path) -> None:
    found = numbers(*FAST, "--half-sets", source, tmp_path / "v.mrc")
    assert found["resolution_0.5_A"] < 4
    odd = [k for k in range(24) if k // 2 % 2 == 0]
    listed = ",".join(str(k + 1) for k in odd)
    run("recon", "-q", *FAST, "--views", listed, source, tmp_path / "w.mrc")
    assert np.array_equal(volume(tmp_path / "v_odd.mrc"), volume(tmp_path / "w.mrc"))


def test_views_may_have_any_order(tmp_path: Path, clean: np.ndarray) -> None:
    order = np.random.default_rng(0).permutation(24)
    first = write_phase_series(tmp_path / "a.mrc", clean)
    second = write_phase_series(tmp_path / "b.mrc", clean[order], VIEWS_DEG[order], FOCI_A[order])
    for name in (first, second):
        run("recon", "-q", *FAST, name, tmp_path / f"v{name.stem}.mrc")
    a, b = volume(tmp_path / "va.mrc"), volume(tmp_path / "vb.mrc")
    assert np.abs(a - b).max() < 1e-3 * a.max()


def test_displaced_images_are_moved_back(tmp_path: Path, clean: np.ndarray) -> None:
    rng = np.random.default_rng(5)
    shift_px = rng.uniform(-1.5, 1.5, (24, 2))
    moved = [shift(image, by[::-1], order=5, cval=1.0) for image, by in zip(clean, shift_px, strict=True)]
    wrong_A = FOCI_A + rng.uniform(-30, 30, 24)
    series = write_phase_series(tmp_path / "s.mrc", np.array(moved, np.float32), VIEWS_DEG, wrong_A)
    how = (*HOW, "--refine", "shifts,defocus,rotation")
    done = run("recon", *how, "--json", "--resume", series, tmp_path / "v.mrc")
    assert "refined: shifts of 1" in done.err and "root mean square" in done.err
    found = json.loads(done.out)
    # a shift of the whole specimen, which moves the images with the tilt, is not to be found
    tilt = np.deg2rad(VIEWS_DEG)
    across = np.stack([np.cos(tilt), np.sin(tilt)], axis=1)
    expected = shift_px - shift_px.mean(axis=0)
    expected[:, 0] = shift_px[:, 0] - across @ np.linalg.lstsq(across, shift_px[:, 0], rcond=None)[0]
    assert np.abs(found["shift_px"] - expected).max() < 0.2
    change_A = 1e4 * np.array(found["defocus_um"]) - wrong_A
    assert np.corrcoef(change_A, FOCI_A - wrong_A)[0, 1] > 0.9
    assert f"changes of the defocus of {np.sqrt(np.mean(change_A**2)):.2g} Å" in done.err
    assert np.abs(found["rotation_deg"]).max() < 2
    assert ", 24 views, potential in V, refin" in etcli.read(tmp_path / "v.mrc").history[-1]


# scale of the images


def test_images_are_brought_to_units_of_the_vacuum(tmp_path: Path, clean: np.ndarray) -> None:
    rng = np.random.default_rng(3)
    gain = rng.uniform(0.5, 2, clean.shape[1:]).astype(np.float32)
    beam = rng.uniform(80, 120, 24).astype(np.float32)[:, np.newaxis, np.newaxis]
    hot = clean.copy()
    hot[5, 3, 4] = hot[9, 20, 21] = 50
    raw = write_phase_series(tmp_path / "raw.mrc", 7 + beam * gain * hot)
    write_series(tmp_path / "flat.mrc", 9 * gain[np.newaxis], [0.0])
    how = ("--background", 7, "--flat-field", tmp_path / "flat.mrc", "--hot-pixels", "--vacuum", "mean")
    done = run("recon", *HOW, "--iterations", 10, *how, raw, tmp_path / "v.mrc")
    assert "hot pixels are replaced" in done.err
    assert "images are divided by the vacuum " in done.err and "(mean of each view)" in done.err
    assert potential_at(volume(tmp_path / "v.mrc")).min() > 80
    assert "background 7, flat field " in (tmp_path / "v.mrc.mdoc").read_text()


@pytest.mark.parametrize("level", ["mode", 40])
def test_other_levels_of_the_vacuum(tmp_path: Path, clean: np.ndarray, level: object) -> None:
    raw = write_phase_series(tmp_path / "raw.mrc", 40 * clean)
    line = failure("recon", "-q", *FAST, raw, tmp_path / "v.mrc")
    assert f"{raw}: the mean intensity is 40, but images are needed in units of the vacuum" in line
    assert "give --vacuum mean, mode or the level" in line
    done = run("recon", *FAST, "--vacuum", level, raw, tmp_path / "v.mrc")
    assert "images are divided by the vacuum " in done.err


# refusals


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (
            {"defocus_A": np.full(24, np.nan)},
            (),
            "no defocus is known; give one per view, in µm, with --defocus",
        ),
        (
            {"defocus_A": np.where(np.arange(24) == 4, np.nan, FOCI_A)},
            (),
            "the defocus of 1 of 24 views is not known, first that of view 5; give all with --defocus "
            "FILE, or --exclude these views",
        ),
        ({"tilt_deg": np.zeros(24)}, (), "all 24 views are at one tilt, 0°, and show no depth"),
        ({"voltage_kV": None}, (), "the accelerating voltage is not known; give it with --kv"),
        ({}, ("--kv", "300000"), "a voltage of 300000 kV is none of a microscope"),
        ({}, ("--vacuum", "bright"), "--vacuum 'bright' is not mean, mode, none or an intensity above 0"),
        ({}, ("--refine", "shifts,focus"), "--refine 'focus' is not one of shifts, defocus, rotation"),
        ({}, ("--memory", "1K"), "the work takes 1M of memory, but only 0M are allowed; give a larger"),
        ({}, ("--memory", "400K"), "the work takes 1M of memory, but only 0M are allowed; allow more"),
        ({}, ("--euler", "e.csv"), "--euler (or EulerAngles in the mdoc) is for methods that reconstruct"),
        ({}, ("--view-weights", "w.txt"), "--view-weights is for methods that reconstruct"),
        ({}, ("--thickness", "auto"), "--thickness auto is for methods that reconstruct from projections"),
        ({}, ("--x-tilt", "5"), "--x-tilt is for methods that reconstruct from projections"),
        ({}, ("--z-offset", "5"), "--z-offset is for methods that reconstruct from projections"),
        ({}, ("--contrast", "log"), "--contrast log is for methods that reconstruct from projections"),
        ({}, ("--dask", "x"), "--dask is for work slab by slab"),
        ({}, ("--kernel", "strip"), "--kernel is for --method"),
        ({}, ("--nonnegative",), "--nonnegative is for --method"),
        ({}, ("--iterations", "auto"), "--iterations auto is not for multislice; give a number, or leave it"),
        ({}, ("--prior", "none", "--weight", "3"), "--weight 3 is for --prior tv or l1, not for none"),
        ({}, ("--refine", ","), "--refine ',' names nothing; give some of shifts, defocus, rotation"),
        ({}, ("--alpha", "0.0197"), "(19.69 mrad); give it in mrad, not in rad"),
        ({"defocus_A": 1e3 * FOCI_A}, (), "a defocus of 40 µm needs a wave of "),
    ],
)
def test_what_cannot_be_reconstructed(
    tmp_path: Path, clean: np.ndarray, change: dict, options: tuple, message: str
) -> None:
    known = {"tilt_deg": VIEWS_DEG, "defocus_A": FOCI_A} | change
    series = write_phase_series(tmp_path / "s.mrc", clean, **known)
    done = failure_of("recon", "-q", *FAST, *options, series, tmp_path / "v.mrc")
    assert message in done
    assert not (tmp_path / "v.mrc").exists()


def failure_of(*arguments: object) -> str:
    """Line of a failure, whether of the request or of the data."""
    try:
        return failure(*arguments)
    except AssertionError:
        return failure(*arguments, status=2)


def test_a_count_of_defoci_that_differs(source: Path, tmp_path: Path) -> None:
    (tmp_path / "d.txt").write_text("0.02\n" * 23)
    line = failure("recon", "-q", *FAST, "--defocus", tmp_path / "d.txt", source, tmp_path / "v.mrc")
    assert "d.txt: 23 defoci for the 24 views of" in line


def test_values_that_are_not_finite(tmp_path: Path, clean: np.ndarray) -> None:
    series = write_phase_series(tmp_path / "s.mrc", clean)
    with mrcfile.mmap(series, "r+") as mrc:
        mrc.data[3, 4, 5] = np.nan
    assert "NaN or infinite values" in failure("recon", "-q", *FAST, series, tmp_path / "v.mrc")


def test_flat_fields_must_fit(source: Path, tmp_path: Path) -> None:
    for data, message in (
        (np.ones((1, 30, 32)), "the flat field has 32 x 30 pixels, but the images have 32 x 32"),
        (np.zeros((1, 32, 32)), "the flat field holds the value 0; its values must be above 0"),
    ):
        flat = tmp_path / "flat.mrc"
        flat.unlink(missing_ok=True)
        write_series(flat, data.astype(np.float32), [0.0])
        line = failure("recon", "-q", *FAST, "--flat-field", flat, source, tmp_path / "v.mrc")
        assert line == f"ERROR: recon - {flat}: {message}"


def test_other_methods_know_none_of_the_options(source: Path, tmp_path: Path) -> None:
    for option in (
        ("--kv", 200),
        ("--vacuum", "mean"),
        ("--hot-pixels",),
        ("--refine", "shifts"),
        ("--seed", 1),
    ):
        line = failure("recon", "-q", *option, source, tmp_path / "v.mrc", status=2)
        assert f"{option[0]} is for --method multislice, not for sirt; leave it out" in line


def test_notes_on_the_microscope(source: Path, tmp_path: Path) -> None:
    done = run("recon", "-v", *FAST, "--kv", 200, "--alpha", 40, source, tmp_path / "v.mrc")
    assert "--kv 200 is used, but the description says 300 kV" in done.err
    assert "the aperture of 40 mrad passes more than pixels of 0.5 Å resolve (25.08 mrad)" in done.err
    assert "12 tilts, defoci from 0.015 to 0.04 µm (overfocus)" in done.err


# what is kept


@pytest.mark.parametrize("options", [(), ("--prior", "l1"), ("--refine", "shifts,rotation")])
def test_what_was_killed_goes_on_to_the_same_end(source: Path, tmp_path: Path, options: tuple) -> None:
    how = (*HOW, "--iterations", 40, *options)
    curve = tmp_path / "whole.csv"
    run("recon", "-q", *how, "--error-curve", curve, source, tmp_path / "whole.mrc")
    state = tmp_path / "v.mrc.resume" / "state.npz"
    command = [sys.executable, "-m", "etcli", "recon", "-q", *map(str, how), "--resume", str(source), "v.mrc"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while process.poll() is None and not state.exists():
            assert time.monotonic() < deadline, "no state was kept"
            time.sleep(0.002)
        process.kill()
        assert process.stderr is not None and process.stderr.read() == b""
    assert state.exists() and not (tmp_path / "v.mrc").exists()
    shutil.copytree(state.parent, tmp_path / "other.mrc.resume")
    done = run("recon", *how, "--resume", "--error-curve", tmp_path / "v.csv", source, tmp_path / "v.mrc")
    assert "going on after " in done.err and " of 40 iterations" in done.err
    assert without_run(tmp_path / "v.mrc") == without_run(tmp_path / "whole.mrc")
    assert (tmp_path / "v.csv").read_bytes() == curve.read_bytes()
    assert not state.parent.exists()
    done = run("recon", *how, "--resume", "--alpha", 15, source, tmp_path / "other.mrc")
    assert "going on" not in done.err  # another microscope


def test_a_damaged_state_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("etcli.io.keyed_folder.KeyedFolder.remove", lambda folder: None)
        run("recon", "-q", *FAST, "--resume", source, tmp_path / "v.mrc")
    state = tmp_path / "v.mrc.resume" / "state.npz"
    state.write_bytes(state.read_bytes()[:-100])
    line = failure("recon", "-q", *FAST, "--resume", source, tmp_path / "v.mrc")
    assert "state.npz: is damaged; remove it" in line
