"""``recon --resume`` after a kill at any moment."""

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.files import earlier_output, etcli, failure, images, without_run, write_series

ETCLI = [sys.executable, "-m", "etcli"]
HOW = ("-j", "2", "--iterations", "40", "--background", "none")
N_ROWS = 400


def write_source(folder: Path) -> Path:
    return write_series(folder / "a.mrc", images(21, N_ROWS, 60), np.linspace(-60, 60, 21), axis_deg=0)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_source(tmp_path)


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A series, and v.mrc.resume with the slabs of it that a run left when it was killed."""
    folder = tmp_path_factory.mktemp("interrupted")
    write_source(folder)
    assert killed(folder, 2)
    return folder


def killed(folder: Path, after: int, *options: str, name: str = "v.mrc", delay: float = 0.0) -> int:
    """Kill a run when some slabs are kept, a little later; return how many were."""
    command = [*ETCLI, "recon", "-q", *HOW, *options, "--resume", "a.mrc", "v.mrc"]
    kept = folder / f"{name}.resume"
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while process.poll() is None and len(list(kept.glob("*.npz"))) < after:
            assert time.monotonic() < deadline, "no slab was kept"
            time.sleep(0.002)
        time.sleep(delay)
        process.kill()
        assert process.stderr is None or process.stderr.read() == b""
    return len(list(kept.glob("*.npz")))


def test_what_was_killed_goes_on_to_the_same_end(source: Path, tmp_path: Path) -> None:
    etcli("recon", "-q", *HOW, "--error-curve", tmp_path / "whole.csv", source, tmp_path / "whole.mrc")
    expected = without_run(tmp_path / "whole.mrc")
    rng = np.random.default_rng(0)
    before = 0
    for after in (1, 2, 3):
        now = killed(tmp_path, after, delay=rng.uniform(0, 0.02))
        assert not (tmp_path / "v.mrc").exists()
        assert now >= max(before, after)
        before = now
    assert before < 7  # or nothing was left to do
    run = etcli("recon", *HOW, "--resume", "--error-curve", tmp_path / "v.csv", source, tmp_path / "v.mrc")
    assert f"going on from {before} finished slabs" in run.err
    assert without_run(tmp_path / "v.mrc") == expected
    assert (tmp_path / "v.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert not (tmp_path / "v.mrc.resume").exists()


@pytest.mark.parametrize("change", ["options", "input", "angles", "half"])
def test_slabs_of_other_work_are_not_used(interrupted: Path, tmp_path: Path, change: str) -> None:
    folder, options = interrupted, [*HOW]
    if change == "options":
        options += ["--relaxation", "0.5"]
    elif change == "half":
        options += ["--half-sets"]
    elif change == "angles":
        np.savetxt(tmp_path / "b.tlt", np.linspace(-50, 50, 21))
        options += ["--tilts", str(tmp_path / "b.tlt")]
    else:
        folder = tmp_path
        source = write_source(folder)
        assert killed(folder, 2)
        source.unlink()
        write_series(source, 1 + images(21, N_ROWS, 60), np.linspace(-60, 60, 21), axis_deg=0)
    first = f"{change}_odd.mrc" if change == "half" else f"{change}.mrc"
    shutil.copytree(folder / "v.mrc.resume", folder / f"{first}.resume")
    run = etcli("recon", *options, "--resume", "a.mrc", f"{change}.mrc", cwd=folder)
    assert "going on" not in run.err
    etcli("recon", "-q", *options, "a.mrc", f"{change}_same.mrc", cwd=folder)
    for half in ("", "_odd", "_even") if change == "half" else ("",):
        found, expected = (folder / f"{change}{stem}{half}.mrc" for stem in ("", "_same"))
        assert without_run(found) == without_run(expected)


def test_a_damaged_slab_is_refused(interrupted: Path) -> None:
    target = interrupted / "damaged.mrc"
    shutil.copytree(interrupted / "v.mrc.resume", f"{target}.resume")
    kept = next(Path(f"{target}.resume").glob("*.npz"))
    kept.write_bytes(kept.read_bytes()[:-100])
    line = failure("recon", "-q", *HOW, "--resume", "a.mrc", target.name, cwd=interrupted)
    assert f"damaged.mrc.resume/{kept.name}: is damaged; remove it" in line
    kept.unlink()
    run = etcli("recon", *HOW, "--resume", "a.mrc", target.name, cwd=interrupted)
    assert "going on" in run.err


def test_a_run_that_is_refused_throws_nothing_away(interrupted: Path) -> None:
    target = interrupted / "refused.mrc"
    shutil.copytree(interrupted / "v.mrc.resume", f"{target}.resume")
    earlier_output(target)
    kept = sorted(Path(f"{target}.resume").iterdir())
    options = ("--no-clobber", "--relaxation", "0.5", "--resume")
    line = failure("recon", "-q", *HOW, *options, "a.mrc", target.name, cwd=interrupted, status=2)
    assert "refused.mrc: exists" in line
    assert sorted(Path(f"{target}.resume").iterdir()) == kept


def test_half_sets_go_on_too(source: Path, tmp_path: Path) -> None:
    names = ["v.mrc", "v_odd.mrc", "v_even.mrc"]
    etcli("recon", "-q", *HOW, "--half-sets", source.name, "v.mrc", cwd=tmp_path)
    expected = [(tmp_path / name).read_bytes() for name in names]
    for name in names:
        (tmp_path / name).unlink()
    assert killed(tmp_path, 2, "--half-sets", name="v_even.mrc") < 7
    run = etcli("recon", *HOW, "--half-sets", "--resume", source.name, "v.mrc", cwd=tmp_path)
    assert re.search(r"going on from (9|1\d) finished slabs", run.err)
    assert [(tmp_path / name).read_bytes() for name in names] == expected
    assert not list(tmp_path.glob("*.resume"))


def test_what_cannot_be_kept_is_refused(source: Path, tmp_path: Path) -> None:
    line = failure("recon", "-q", "--method", "fista", "--resume", source, tmp_path / "v.mrc", status=2)
    assert "--resume is for work slab by slab" in line
    (tmp_path / "v.mrc.resume").mkdir()
    line = failure("recon", "-q", "--resume", source, tmp_path / "v.mrc")
    assert "v.mrc.resume: is no folder of kept work" in line
