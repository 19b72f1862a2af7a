"""Help and completion come at once, and the options of all commands work alike."""

import os
import subprocess
import sys

import pytest

import etcli
from etcli.cli.main import COMMANDS
from tests.files import etcli as run
from tests.files import failure, write_series

HEAVY = {"numpy", "scipy", "skimage", "astra", "numba", "rich", "mrcfile", "matplotlib", "tifffile", "rsciio"}
HEAVY |= {"ase", "asyncio", "distributed", "sklearn"}

# the modules that are there when the program ends, whichever way it ends
PROGRAM = """
import os, sys
from etcli.cli.run import main
try:
    main()
finally:
    sys.stderr.write("MODULES " + " ".join(sys.modules))
"""


def loaded(*arguments: str, **environment: str) -> tuple[set[str], str]:
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | environment,
    )
    said, _, modules = process.stderr.rpartition("MODULES ")
    assert said == ""
    return set(modules.split()), process.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("recon", "--help"),
        ("bin", "-h"),
        ("compare", "--help"),
        ("trace-atoms", "--help"),
        ("--version",),
        ("info", "--version"),
    ],
)
def test_help_loads_nothing_heavy(arguments) -> None:
    modules, out = loaded(*arguments)
    assert out
    assert "click" in modules
    assert not modules & HEAVY


@pytest.mark.parametrize(
    ("words", "number", "expected"),
    [
        ("etcli ", 1, {f"plain,{name}" for name in COMMANDS}),
        ("etcli re", 1, {"plain,register", "plain,recon"}),
        ("etcli bin --me", 2, {"plain,--method", "plain,--memory"}),
        ("etcli bin --method ", 3, {"plain,mean", "plain,sum", "plain,fourier"}),
        ("etcli bin a", 2, {"file,a"}),
        ("etcli stack a", 2, {"file,a"}),
        ("etcli xform --xf a", 3, {"file,a"}),
    ],
)
def test_completion_loads_nothing_heavy(words, number, expected) -> None:
    modules, out = loaded(_ETCLI_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(number))
    assert set(out.split()) == expected
    assert not modules & HEAVY
    if number == 1:
        assert "etcli.commands" not in modules


def test_the_help_lists_every_command() -> None:
    out = run("--help").out
    for name, text in COMMANDS.items():
        assert f"  {name} " in out
        assert text.split()[0] in out


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize(
    "option", ["--quiet", "-v", "--threads", "--memory", "--device", "--no-clobber", "--debug"]
)
def test_global_options_are_known_before_and_after_the_name(name, option) -> None:
    for arguments in (("--help",), (name, "--help")):
        assert option in run(*arguments).out


@pytest.mark.parametrize("arguments", [("--version",), ("bin", "--version")])
def test_version(arguments) -> None:
    assert run(*arguments).out == f"etcli {etcli.__version__}\n"


@pytest.mark.parametrize(
    "arguments", [("-q", "stack"), ("stack", "-q"), ("-v", "stack", "-q"), ("-q", "stack", "-v")]
)
def test_quiet_wins_wherever_it_stands(tmp_path, arguments) -> None:
    source = write_series(tmp_path / "a.mrc", tilt_deg=[3.0, 3.0], defocus_um=[-1, -1])
    assert run(*arguments, source, tmp_path / "b.mrc").err == ""
    assert "2 sections give 1 views" in run("stack", source, tmp_path / "b.mrc").err


def test_options_count_more_than_the_environment(monkeypatch) -> None:
    """Also those given before the command's name."""
    from etcli.cli.main import etcli as group
    from etcli.cli.options import Settings

    monkeypatch.setenv("ETCLI_THREADS", "7")
    for arguments, threads in (([], 7), (["-j", "3"], 3)):
        for line in ([*arguments, "info", "x"], ["info", *arguments, "x"]):
            settings = Settings()
            with pytest.raises(FileNotFoundError):
                group.main(line, obj=settings, standalone_mode=False)
            assert settings.threads == threads


def test_the_environment_may_be_wrong(monkeypatch) -> None:
    monkeypatch.setenv("ETCLI_MEMORY", "lots")
    assert "'lots' is not an amount of memory" in failure("info", "x", status=2)
