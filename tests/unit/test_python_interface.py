"""The Python interface: what the commands do, in memory, with the same results and the same errors."""

import doctest
import inspect
import re
import runpy
import shutil
import warnings
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import etcli
from etcli.core.solvers.methods import METHODS
from etcli.pipeline.session import Mute, Session
from tests.files import etcli as run
from tests.files import images, mdoc_text, without_run, write_series, write_stack

ROOT = Path(etcli.__file__).parents[1]
FUNCTIONS = [name for name in etcli.__all__ if inspect.isfunction(getattr(etcli, name))]


@pytest.fixture(scope="module")
def aligned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Views of a ball between the sides, its axis central."""
    z = np.hypot(*(np.mgrid[:24, :32] - np.array([11.5, 15.5])[:, None, None]))
    ball = np.sqrt(np.maximum(81 - z**2, 0)).astype(np.float32)
    data = np.stack([ball] * 25)
    path = write_stack(tmp_path_factory.mktemp("api") / "a.mrc", data)
    Path(f"{path}.mdoc").write_text(mdoc_text(np.linspace(-72, 72, 25).tolist(), axis_deg=0))
    return path


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_example_of_a_function_runs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    function = getattr(etcli, name)
    (found,) = doctest.DocTestFinder(recurse=False).find(
        function, name, module=import_module(function.__module__)
    )
    assert found.examples
    assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(found).failed == 0


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_says_what_it_takes_gives_and_raises(name: str) -> None:
    function = getattr(etcli, name)
    text = inspect.getdoc(function) or ""
    for heading in ("Parameters", "Raises", "Examples"):
        assert f"\n{heading}\n{'-' * len(heading)}\n" in text
    assert ("Returns" in text) == (inspect.signature(function).return_annotation not in (None, "None"))
    for parameter in inspect.signature(function).parameters:
        assert re.search(rf"^[\w, *]*\b{parameter}\b[\w, ]* ?(:|$)", text, re.MULTILINE), parameter
    assert all(
        hint.annotation is not inspect.Parameter.empty
        for hint in inspect.signature(function).parameters.values()
    )


def test_all_names_are_listed_and_nothing_else_is_there() -> None:
    assert set(etcli.__all__) <= set(dir(etcli))
    for name in etcli.__all__:
        assert getattr(etcli, name) is not None
    with pytest.raises(AttributeError, match="module 'etcli' has no attribute 'recon'"):
        _ = etcli.recon


def test_the_sample_script_goes_from_a_series_to_atoms(tmp_path: Path, monkeypatch, capsys) -> None:
    for name in ("particle.mrc", "particle.mrc.mdoc"):
        shutil.copy(ROOT / "sample_data" / name, tmp_path)
    script = ROOT / "sample_data" / "particle.py"
    steps = [
        line
        for line in script.read_text().splitlines()
        if line.startswith(("etcli.", *"abcdefghijklmnopqrstuvwxyz"))
    ]
    assert len([line for line in steps if "etcli" in line]) <= 15
    monkeypatch.chdir(tmp_path)
    made = runpy.run_path(str(script))
    assert made["registered"].residual_px < 0.1
    assert made["aligned"].axis.angle_deg == pytest.approx(-1.5, abs=0.1)
    assert made["result"].errors.residual[-1] < 0.1
    assert 5 <= len(made["found"].atoms) <= 40
    again = etcli.read("particle.xyz")
    np.testing.assert_allclose(again.position_A, made["found"].atoms.position_A, atol=1e-4)
    volume = etcli.read("particle_volume.mrc")
    np.testing.assert_array_equal(volume.images(), made["result"].volume.images())
    assert volume.frame == made["result"].volume.frame
    assert "particles, the first at" in capsys.readouterr().out


@pytest.mark.parametrize("method", [name for name in METHODS if not METHODS[name].phase_contrast])
def test_a_volume_is_the_command_s_to_the_last_byte(aligned: Path, tmp_path: Path, method: str) -> None:
    levels = {"levels": (0.0, 1.0)} if method == "dart" else {}
    options = ("--levels", "0,1") if method == "dart" else ()
    iterations = {"iterations": 3} if METHODS[method].is_iterative else {}
    options += ("--iterations", 3) if METHODS[method].is_iterative else ()
    run("recon", "-q", "--method", method, *options, "--thickness", "20px", aligned, tmp_path / "v.mrc")
    result = etcli.reconstruct(etcli.read(aligned), method=method, thickness="20px", **levels, **iterations)
    (tmp_path / "api").mkdir()
    etcli.write(result.volume, tmp_path / "api" / "v.mrc")
    for name in ("v.mrc", "v.mrc.mdoc"):
        assert without_run(tmp_path / "api" / name) == without_run(tmp_path / name)


def test_an_alignment_is_the_command_s_to_the_last_byte(aligned: Path, tmp_path: Path) -> None:
    run("register", "-q", "--method", "com", aligned, tmp_path / "r.mrc")
    run("tiltalign", "-q", "--method", "com", tmp_path / "r.mrc", tmp_path / "t.mrc")
    run("bin", "--factor", 1.5, tmp_path / "t.mrc", tmp_path / "b.mrc")
    run("filter", "--method", "gaussian", tmp_path / "b.mrc", tmp_path / "f.mrc")
    quiet = Session().muted()  # a ball has nothing fine to be matched by, and is doubted
    registered = etcli.register(etcli.read(aligned), method="com", session=quiet).series
    turned = etcli.tiltalign(registered, method="com", session=quiet).series
    binned = etcli.bin(turned, 1.5)
    (tmp_path / "api").mkdir()
    for name, series in (
        ("r", registered),
        ("t", turned),
        ("b", binned),
        ("f", etcli.filter(binned, "gaussian")),
    ):
        etcli.write(series, tmp_path / "api" / f"{name}.mrc")
        for file in (f"{name}.mrc", f"{name}.mrc.mdoc"):
            assert without_run(tmp_path / "api" / file) == without_run(tmp_path / file), file


def test_half_sets_come_with_the_volume(aligned: Path, tmp_path: Path) -> None:
    run("recon", "-q", "--method", "bp", "--half-sets", aligned, tmp_path / "v.mrc")
    result = etcli.reconstruct(etcli.read(aligned), method="bp", half_sets=True)
    for half, name in zip(result.halves, ("odd", "even"), strict=True):
        np.testing.assert_array_equal(half.images(), etcli.read(tmp_path / f"v_{name}.mrc").images())
    assert result.fsc is not None and result.fsc.correlation[1] > 0.9


def test_errors_are_those_of_the_commands(aligned: Path, tmp_path: Path) -> None:
    series = etcli.read(aligned)
    with pytest.raises(etcli.UsageError, match=r"no method named 'sirtt'; use sirt, sart"):
        etcli.reconstruct(series, method="sirtt")
    with pytest.raises(etcli.UsageError, match="dart needs to know the densities"):
        etcli.reconstruct(series, method="dart")
    with pytest.raises(etcli.UsageError, match=r"--thickness auto needs views tilted about one axis"):
        etcli.reconstruct(series, thickness="auto", x_tilt_deg=2.0)
    with pytest.raises(etcli.UsageError, match="'wide' is not a length"):
        etcli.reconstruct(series, thickness="wide")
    with pytest.raises(etcli.UsageError, match="'Xy' is no element"):
        etcli.trace_atoms(etcli.Volume(np.zeros((9, 9, 9), np.float32)), species="Xy")
    with pytest.raises(etcli.DataError, match=r"x\.mrc: no tilt angles"):
        etcli.register(etcli.read(write_stack(tmp_path / "x.mrc", images()), kind="series"))


def test_a_series_of_an_array_is_checked() -> None:
    with pytest.raises(etcli.DataError, match="one tilt angle per view, not 2 angles"):
        etcli.TiltSeries.of(np.zeros((3, 4, 4), np.float32), [0, 1])
    with pytest.raises(etcli.DataError, match="need the shape"):
        etcli.Volume(np.zeros((4, 4), np.float32))


def test_raw_data_are_not_replaced(tmp_path: Path) -> None:
    raw = write_series(tmp_path / "raw.mrc")
    before = raw.read_bytes()
    series = etcli.read(raw)
    with pytest.raises(etcli.UsageError, match="was not written by etcli"):
        etcli.write(series, raw)
    assert raw.read_bytes() == before
    etcli.write(series, tmp_path / "copy.mrc")
    etcli.write(series, tmp_path / "copy.mrc")
    etcli.write(series, raw, overwrite=True)
    np.testing.assert_array_equal(etcli.read(raw).images(), images())


def test_warnings_are_python_s(aligned: Path) -> None:
    leaning = etcli.read(aligned).with_axis(20.0)
    with pytest.warns(etcli.EtcliWarning, match="the tilt axis is at 20°"):
        etcli.reconstruct(leaning, method="bp")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        etcli.reconstruct(leaning, method="bp", session=Session().muted())


def test_memory_and_threads_are_the_session_s(aligned: Path) -> None:
    series = etcli.read(aligned)
    with pytest.raises(etcli.UsageError, match="allowed"):
        etcli.reconstruct(series, session=Session(memory=1 << 16))
    one, two = (
        etcli.reconstruct(series, iterations=3, session=Session(threads=n, reporter=Mute())).volume
        for n in (1, 2)
    )
    np.testing.assert_array_equal(one.images(), two.images())


def test_numbers_of_numpy_are_numbers(aligned: Path) -> None:
    series, few = etcli.read(aligned), Session(reporter=Mute())  # iterations
    plain = etcli.reconstruct(series, iterations=3, background=0.5, session=few)
    other = etcli.reconstruct(series, iterations=np.int64(3), background=np.float32(0.5), session=few)
    np.testing.assert_array_equal(other.volume.images(), plain.volume.images())
    assert other.parameters.iterations == 3 and other.background == 0.5
    weighted = etcli.reconstruct(series, method="fista", iterations=2, weight=np.float32(0.5), session=few)
    assert weighted.parameters.weight == 0.5
    levels = etcli.reconstruct(series, method="dart", iterations=2, levels=np.array([0.0, 1.0]), session=few)
    assert levels.parameters.levels == (0.0, 1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"iterations": 3.0}, "iterations 3.0 is not a whole number or 'auto'"),
        ({"iterations": "3"}, "iterations '3' is not a whole number or 'auto'"),
        ({"background": "rim"}, "background 'rim' is not a number or 'auto' or 'none'"),
        ({"method": "fista", "weight": "some"}, "weight 'some' is not a number or 'auto'"),
        ({"contrast": "Log"}, "no contrast named 'Log'; use linear, log"),
        ({"backend": "gpu"}, "no backend named 'gpu'"),
        ({"method": "fista", "prior": "l2"}, "no prior named 'l2'"),
        (
            {"method": "cgls", "nonnegative": True},
            "nonnegative is for --method sirt, sart or fista, not for cgls",
        ),
        ({"subset_size": 5}, "subset_size is for --method sart or multislice, not for sirt"),
        (
            {"method": "mlem", "mask": np.ones((32, 24, 32))},
            "mask is for --method sirt, fista or resire, not for mlem",
        ),
        ({"orient": "imod"}, "a volume in memory is always z, y, x"),
        ({"slices": [-1]}, "slice 0 asked for"),
    ],
)
def test_options_that_would_be_ignored_are_errors(aligned: Path, options: dict, message: str) -> None:
    with pytest.raises(etcli.UsageError, match=re.escape(message)):
        etcli.reconstruct(etcli.read(aligned), **options)


def test_unknown_options_are_type_errors(aligned: Path) -> None:
    with pytest.raises(TypeError, match="no option iteration;"):
        etcli.reconstruct(etcli.read(aligned), iteration=3)


def test_choices_of_other_functions_are_checked(aligned: Path, tmp_path: Path) -> None:
    volume = etcli.Volume(np.zeros((9, 9, 9), np.float32), pixel_A=0.4)
    for options, message in (
        ({"detect": "blobs"}, "no detection named 'blobs'"),
        ({"fit": "lorentzian"}, "no fit named 'lorentzian'"),
        ({"species": 0}, "--species 0"),
        ({"threshold": "high"}, "threshold 'high' is not a number"),
    ):
        with pytest.raises(etcli.UsageError, match=message):
            etcli.trace_atoms(volume, **options)
    with pytest.raises(etcli.UsageError, match="no device named 'cuda'"):
        Session(device="cuda")
    with pytest.raises(etcli.UsageError, match="not written as MRC mode 7"):
        etcli.write(volume, tmp_path / "v.mrc", mode=7)
    with pytest.raises(etcli.UsageError, match="cannot write a ndarray"):
        etcli.write(np.zeros((2, 2, 2)), tmp_path / "v.mrc")
    with pytest.raises(etcli.DataError, match="three for each view"):
        etcli.project(volume, euler_deg=[0, 0, 0])
    with pytest.raises(etcli.UsageError, match="--reference 0"):
        etcli.register(etcli.read(aligned), reference=-1)
    assert list(tmp_path.iterdir()) == []


def test_one_session_reads_and_writes_the_same_file(tmp_path: Path) -> None:
    session, name = Session(), tmp_path / "v.mrc"
    etcli.write(etcli.Volume(np.ones((4, 6, 8), np.float32), pixel_A=2.0), name, session=session)
    etcli.write(etcli.bin(etcli.read(name, session=session), 2), name, session=session)
    assert etcli.read(name).shape == (2, 3, 4)


def test_sides_of_a_voxel_and_the_voltage_are_kept(tmp_path: Path) -> None:
    volume = etcli.Volume(np.ones((4, 6, 8), np.float32), pixel_A=2.0, voxel_A=(2.0, 2.0, 5.0))
    etcli.write(volume, tmp_path / "v.mrc")
    assert etcli.read(tmp_path / "v.mrc").voxel_A == (2.0, 2.0, 5.0)
    etcli.write(etcli.bin(volume, 2), tmp_path / "b.mrc")
    run("bin", "-q", "--factor", 2, "--dims", 3, tmp_path / "v.mrc", tmp_path / "c.mrc")
    for name in ("b.mrc", "c.mrc"):
        assert etcli.read(tmp_path / name).voxel_A == (4.0, 4.0, 10.0)
    series = etcli.TiltSeries.of(np.ones((2, 4, 4), np.float32), [0, 9], pixel_A=2.0, voltage_kv=300.0)
    etcli.write(series, tmp_path / "s.mrc")
    assert etcli.read(tmp_path / "s.mrc").voltage_kv == 300.0


def test_images_are_shown_in_one_line(aligned: Path) -> None:
    series = etcli.read(aligned)
    assert repr(series) == f"<TiltSeries {aligned}: 32 x 24 x 25, pixels of 2.5 Å>"
    assert len(repr(etcli.reconstruct(series, method="bp").volume).splitlines()) == 1
