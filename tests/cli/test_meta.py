"""Every command is explained wherever a user may look for it, and what is shown there works."""

import ast
import importlib
import inspect
import re
import shlex
import shutil
import subprocess
import textwrap
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete

import etcli as package
from etcli.cli.groups import LazyGroup
from etcli.cli.main import COMMANDS, etcli
from etcli.cli.options import Explained
from etcli.cli.pages import pages
from tests.files import etcli as run

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = pages()


def everything(group: LazyGroup = etcli, path: str = "") -> dict[str, str]:
    """The first line of help of every command and of those below it, by what users type."""
    found = {}
    for name, text in group.table.items():
        found[path + name] = text
        below = command(path + name)
        if isinstance(below, LazyGroup):
            found |= everything(below, f"{path}{name} ")
    return found


def command(name: str) -> Explained:
    return importlib.import_module(f"etcli.commands.{name.replace('-', '_').replace(' ', '.')}").command


def parse(line: str) -> None:
    """Parse the stages of a command line as a shell and click would, without running any."""
    stages: list[list[str]] = [[]]
    for word in shlex.split(line, comments=True):
        if word == "|":
            stages.append([])
        else:
            stages[-1].append(word)
    for program, *words in stages:
        assert program == "etcli", line
        root = click.Context(etcli, info_name="etcli")
        try:
            if words[0].startswith("-"):
                etcli.make_context("etcli", words)
            name, found, rest = etcli.resolve_command(root, words)
            assert found is not None
            ctx = found.make_context(name, rest, parent=root)
            if isinstance(found, LazyGroup):
                words = [*ctx._protected_args, *ctx.args]
                name, found, rest = found.resolve_command(ctx, words)
                found.make_context(name, rest, parent=ctx)
        except click.exceptions.Exit as end:  # --help, --recipe
            assert end.exit_code == 0


EVERYTHING = everything()


def examples(text: str) -> list[str]:
    """Find command lines in indented code and between backticks, continued lines joined."""
    text = re.sub(r" *\\\n *", " ", text)
    lines = re.findall(r"^ {4}(etcli .+)$", text, re.MULTILINE) + re.findall(r"`(etcli [^`]+)`", text)
    return [line for line in lines if len(line.split()) > 2]


def test_the_table_lists_the_modules() -> None:
    folder = ROOT / "etcli" / "commands"
    there = {path.relative_to(folder).with_suffix("").parts for path in folder.rglob("[!_]*.py")}
    there |= {path.parent.relative_to(folder).parts for path in folder.glob("*/__init__.py")}
    assert {" ".join(parts).replace("_", "-") for parts in there} == set(EVERYTHING)


@pytest.mark.parametrize("name", EVERYTHING)
def test_a_command_explains_itself(name: str) -> None:
    found = command(name)
    assert found.name == name.split()[-1]
    first, _, rest = (found.help or "").partition("\n\n")
    assert " ".join(first.split()) == EVERYTHING[name] and rest
    for param in found.params:
        if isinstance(param, click.Option):
            assert param.help and param.help[-1] in ".]", param.name
    text = run(*name.split(), "--help").out
    assert text.startswith(f"Usage: etcli {name} ")
    lines = text.split("\nExample:\n")[1].split("\n\n")[0].splitlines()
    assert any(line.strip().startswith(f"etcli {name} ") for line in lines)
    tail = text.rstrip().rsplit("\n\n", 1)[-1]
    assert tail.startswith("References:" if found.references else "Example:")
    for reference in found.references:
        assert re.search(r"\((1[89]|20)\d\d\)", reference), reference


@pytest.mark.parametrize("name", EVERYTHING)
def test_the_example_of_a_command_is_valid(name: str) -> None:
    lines = re.sub(r" *\\\n *", " ", command(name).example).splitlines()
    assert lines
    for line in lines:
        parse(line)


def test_the_readme_has_a_row_a_command() -> None:
    rows = re.findall(r"^\| `etcli ([a-z-]+)` \| \S.*\|$", README, re.MULTILINE)
    assert sorted(rows) == sorted(COMMANDS)


@pytest.mark.parametrize("line", [line for line in examples(README) if "COMMAND" not in line])
def test_the_readme_shows_valid_command_lines(line: str) -> None:
    parse(line)


def test_the_readme_shows_valid_python() -> None:
    """The calls bind to the functions."""
    blocks = re.findall(r"(?:^    .*\n|^\n)+", README, re.MULTILINE)
    shown = [textwrap.dedent(block) for block in blocks if "    import etcli" in block]
    calls = [node for text in shown for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    named = {ast.unparse(call.func): call for call in calls if ast.unparse(call.func).startswith("etcli.")}
    assert {"etcli.fuse", "etcli.reconstruct", "etcli.register"} <= set(named)
    for call in calls:
        if ast.unparse(call.func) in named:
            function = getattr(package, ast.unparse(call.func).removeprefix("etcli."))
            keywords = {word.arg: word.value for word in call.keywords if word.arg}
            inspect.signature(function).bind(*call.args, **keywords)


def test_examples_are_found() -> None:
    assert len(examples(README)) >= 6
    with pytest.raises(click.UsageError):
        parse("etcli bin --faktor 2 a.mrc b.mrc")
    with pytest.raises(click.UsageError):
        parse("etcli bin a.mrc - | etcli filter --method sharpen - b.mrc")


def test_the_sample_pipeline_is_valid(tmp_path: Path) -> None:
    if shutil.which("make") is None:
        pytest.skip("no make")
    (tmp_path / "s.mrc").touch()
    recipe = ["make", "-n", "-C", str(tmp_path), "-f", str(ROOT / "sample_data" / "Makefile")]
    for target in ("s_slices.png", "s_views.png", "s_measures.csv", "s.stl", "sample"):
        done = subprocess.run([*recipe, target], check=True, capture_output=True, text=True)
        lines = re.sub(r" *\\\n\s*", " ", done.stdout).splitlines()
        shown = [line for line in lines if line.startswith("etcli ")]
        assert len(shown) >= 2
        for line in shown:
            parse(line)


@pytest.mark.parametrize("name", EVERYTHING)
def test_there_is_a_man_page(name: str) -> None:
    *above, last = ("etcli", *name.split())
    page = PAGES[f"man/{'-'.join([*above, last])}.1"]
    for param in command(name).params:
        for option in param.opts if isinstance(param, click.Option) else ():
            assert option.replace("-", "\\-") in page
    entry = "\\-".join([*above, last]) + " (1)"
    assert entry in PAGES[f"man/{'-'.join(above)}.1"]
    assert ".SH EXAMPLE" in page


@pytest.mark.parametrize("folder", ["man", "completions"])
def test_pages_and_completions_are_not_stale(folder: str) -> None:
    wanted = {name: text for name, text in PAGES.items() if name.startswith(f"{folder}/")}
    found = {f"{folder}/{path.name}": path.read_text(encoding="utf-8") for path in (ROOT / folder).glob("*")}
    assert set(found) == set(wanted), "run python -m etcli.cli.pages ."
    assert [name for name in wanted if found[name] != wanted[name]] == [], "run python -m etcli.cli.pages ."


@pytest.mark.parametrize("name", [name for name in PAGES if name.endswith(".1")])
def test_groff_finds_nothing_to_warn_of(name: str) -> None:
    if shutil.which("groff") is None:
        pytest.skip("no groff")
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Tutf8"], input=PAGES[name], check=True, capture_output=True, text=True
    )
    assert done.stderr == "" and done.stdout


def test_groff_shows_what_was_written() -> None:
    if shutil.which("groff") is None:
        pytest.skip("no groff")
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Tutf8", "-P-cbou"],
        input=PAGES["man/etcli-project.1"],
        check=True,
        capture_output=True,
        text=True,
    )
    words = " ".join(done.stdout.split())
    assert "The view at angle θ shows the point (x, y, z) at (x cos θ + z sin θ, y)" in words
    assert "etcli project --range -70 70 2 volume.mrc series.mrc" in words


def test_shells_complete_names_and_options() -> None:
    shell = ShellComplete(etcli, {}, "etcli", "_ETCLI_COMPLETE")
    assert [item.value for item in shell.get_completions([], "")] == list(COMMANDS)
    assert [item.value for item in shell.get_completions([], "reg")] == ["register"]
    assert [item.value for item in shell.get_completions(["simulate"], "p")] == ["phantom", "particle"]
    for name in EVERYTHING:
        own = {option for param in command(name).params for option in param.opts if option.startswith("--")}
        assert own <= {item.value for item in shell.get_completions(name.split(), "--")} | {"--help"}
    assert [item.value for item in shell.get_completions(["recon", "--orient"], "")] == ["zyx", "imod"]
    assert [item.type for item in shell.get_completions(["recon"], "s")] == ["file"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_valid(shell: str) -> None:
    (script,) = [
        text for name, text in PAGES.items() if name.endswith({"zsh": "_etcli"}.get(shell, f".{shell}"))
    ]
    assert "_ETCLI_COMPLETE" in script and "etcli" in script
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell}")
    done = subprocess.run([shell, "-n"], input=script, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", list(EVERYTHING))
def test_the_argument_that_is_missing_is_named(name) -> None:
    """A single name in place of INPUT... OUTPUT is the input: the output is what is missing."""
    found = command(name)
    arguments = [param for param in getattr(found, "params", ()) if isinstance(param, click.Argument)]
    if isinstance(found, LazyGroup) or not all(param.required for param in arguments) or len(arguments) < 2:
        return
    given = [
        param.type.choices[0] if isinstance(param.type, click.Choice) else "a.mrc" for param in arguments[:-1]
    ]
    first, last = (arguments[k].make_metavar(click.Context(found)) for k in (0, -1))
    err = run(*name.split(), *given, status=2).err
    assert f"Missing argument '{last}'" in err
    if any(param.nargs == -1 for param in arguments):
        assert err.endswith(
            f"Missing argument '{last}'; a.mrc is the {first.rstrip('.')}, name the file to write after it\n"
        )
        assert f"Missing argument '{first}'" in run(*name.split(), status=2).err
