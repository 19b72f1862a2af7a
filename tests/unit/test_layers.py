"""Who may import whom: see the rules of dependency. The imports are read, not run."""

import ast
from functools import cache
from pathlib import Path

import pytest

import etcli

ROOT = Path(etcli.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))
HEAVY = {
    "ase", "astra", "cupy", "dask", "distributed", "llvmlite", "matplotlib", "mrcfile", "numba", "numpy",
    "PIL", "rich", "rsciio", "scipy", "skimage", "sklearn", "tifffile",
}  # fmt: skip
PARTS = ("cli", "commands", "core", "io", "pipeline", "plotting")
MAY_IMPORT = {
    "core": {"core"},
    "io": {"io", "core"},
    "plotting": {"plotting", "core"},
    "pipeline": {"pipeline", "io", "core", "plotting"},
    "cli": {"cli", "pipeline", "core"},
    "commands": {"commands", "cli", "pipeline", "core"},
}
# what the command line takes from the core and the pipeline when it begins: names, lengths, errors
GROUND = {
    "etcli.core.arguments",
    "etcli.core.errors",
    "etcli.core.lengths",
    "etcli.core.solvers.methods",
    "etcli.pipeline.view_selection",
}
WITHOUT_TERMINAL = ("core", "io", "pipeline", "plotting")


@cache
def tree(path: Path) -> ast.Module:
    """A file as it is parsed, once for all tests."""
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(path: Path, *, only_at_import: bool = False) -> frozenset[str]:
    """Full names of the modules that a file imports; those under TYPE_CHECKING left out on request."""
    found = set()
    waiting: list[ast.AST] = [tree(path)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif only_at_import and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting += node.decorator_list if not isinstance(node, ast.Lambda) else []
        elif only_at_import and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)
    return frozenset(found)


def part_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0]


def named(path: Path) -> str:
    return str(path.relative_to(ROOT.parent))


def test_the_parts_are_those_of_the_rules() -> None:
    assert {part_of(path) for path in MODULES if path.parent != ROOT} == set(PARTS)
    assert len(MODULES) > 150


@pytest.mark.parametrize("part", PARTS)
def test_dependencies_point_one_way(part: str) -> None:
    forbidden = tuple(f"etcli.{other}" for other in PARTS if other not in MAY_IMPORT[part])
    wrong = {
        f"{named(path)} imports {name}"
        for path in MODULES
        if part_of(path) == part
        for name in imports(path)
        if name.startswith(forbidden)
    }
    assert not wrong


def test_only_the_command_line_knows_of_terminals() -> None:
    wrong = {
        f"{named(path)} imports {name}"
        for path in MODULES
        if part_of(path) in WITHOUT_TERMINAL
        for name in imports(path)
        if name.split(".")[0] in ("click", "rich")
    }
    assert not wrong


def test_the_library_never_prints() -> None:
    wrong = {
        named(path)
        for path in MODULES
        if part_of(path) in WITHOUT_TERMINAL
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("print", "sys.stdout.write", "sys.stderr.write")
    }
    assert not wrong


@pytest.mark.parametrize(
    ("package", "homes"),
    [
        ("ase", {"etcli/io/cif.py", "etcli/io/lattices.py"}),  # read from a file, or built from a name
        ("astra", {"etcli/core/projectors/astra.py"}),
        ("cupy", {"etcli/core/gpu.py"}),
        ("h5py", {"etcli/io/berkeley_emd.py", "etcli/io/hdf5_check.py"}),
        ("rsciio", {"etcli/io/foreign.py", "etcli/io/spectrum_writer.py"}),
        ("tifffile", {"etcli/io/tiff.py"}),
    ],
)
def test_such_packages_have_few_homes(package: str, homes: set[str]) -> None:
    users = set()
    for path in MODULES:
        names = imports(path)
        if any(name.startswith("importlib") for name in names):
            names |= {
                node.value
                for node in ast.walk(tree(path))
                if isinstance(node, ast.Constant) and isinstance(node.value, str)
            }  # what importlib is given
        if any(f"{name}.".startswith(f"{package}.") for name in names):
            users.add(named(path))
    assert users == homes


def test_the_core_opens_no_files() -> None:
    wrong = {
        f"{named(path)} imports {name}"
        for path in MODULES
        if part_of(path) == "core"
        for name in imports(path)
        if name.split(".")[0] in ("ase", "mrcfile", "tifffile", "rsciio", "h5py")
    }
    assert not wrong


def module_of(name: str) -> Path | None:
    """The file of a module of ours, or of the module that a name is in."""
    for words in (name.split("."), name.split(".")[:-1]):
        path = ROOT.parent.joinpath(*words)
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.is_file():
                return file
    return None


def loaded(path: Path) -> set[str]:
    """Full names of all that is imported with a file, by way of other modules of ours as well."""
    found, waiting, seen = set(), [path], set()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        names = imports(path, only_at_import=True)
        found |= names
        waiting += [file for name in names if name.startswith("etcli") and (file := module_of(name))]
    return found


@pytest.mark.parametrize(
    "path", [path for path in MODULES if part_of(path) in ("cli", "commands")], ids=named
)
def test_commands_start_without_heavy_packages(path: Path) -> None:
    assert not {name for name in loaded(path) if name.split(".")[0] in HEAVY}
    below = ("etcli.core", "etcli.io", "etcli.pipeline", "etcli.plotting")
    ours = {name.rpartition(".")[0] for name in imports(path, only_at_import=True) if name.startswith(below)}
    assert ours <= GROUND


@pytest.mark.parametrize(
    "path",
    [path for path in MODULES if part_of(path) == "commands" and "def command" in path.read_text()],
    ids=named,
)
def test_a_command_parses_calls_and_reports(path: Path) -> None:
    """What it does is in the pipeline, where others can reach it."""
    lengths = {
        node.name: (node.end_lineno or 0) - node.lineno
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef)
    }
    assert max(lengths.values()) <= 60, lengths
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 200
