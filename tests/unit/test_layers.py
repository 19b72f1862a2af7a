"""Who may import whom: see the rules of dependency. The imports are read, not run."""

import ast
from pathlib import Path

import pytest

import etcli

ROOT = Path(etcli.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))
HEAVY = {
    "ase", "astra", "cupy", "dask", "distributed", "llvmlite", "matplotlib", "mrcfile", "numba", "numpy",
    "PIL", "rich", "rsciio", "scipy", "skimage", "sklearn", "tifffile",
}  # fmt: skip
PARTS = ("cli", "commands", "core", "io", "plotting")
MAY_IMPORT = {
    "core": {"core"},
    "io": {"io", "core"},
    "plotting": {"plotting", "core"},
    "cli": set(PARTS) - {"commands"},
    "commands": set(PARTS),
}


def imports(path: Path, *, only_at_import: bool = False) -> set[str]:
    """Full names of the modules that a file imports; those under TYPE_CHECKING left out on request."""
    found = set()
    waiting: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
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
    return found


def part_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0]


def named(path: Path) -> str:
    return str(path.relative_to(ROOT.parent))


def test_the_parts_are_those_of_the_rules() -> None:
    assert {part_of(path) for path in MODULES if path.parent != ROOT} == set(PARTS)
    assert len(MODULES) > 50


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
        if part_of(path) in ("core", "io", "plotting")
        for name in imports(path)
        if name.split(".")[0] in ("click", "rich")
    }
    assert not wrong


def test_the_library_never_prints() -> None:
    wrong = {
        named(path)
        for path in MODULES
        if part_of(path) in ("core", "io", "plotting")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("print", "sys.stdout.write", "sys.stderr.write")
    }
    assert not wrong


@pytest.mark.parametrize(
    ("package", "home"),
    [
        ("ase", "etcli/io/cif.py"),
        ("astra", "etcli/core/projectors/astra.py"),
        ("cupy", "etcli/core/gpu.py"),
        ("rsciio", "etcli/io/readers.py"),
        ("tifffile", "etcli/io/tiff.py"),
    ],
)
def test_such_packages_have_one_home(package: str, home: str) -> None:
    users = set()
    for path in MODULES:
        names = imports(path)
        if any(name.startswith("importlib") for name in names):
            names |= {
                node.value
                for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                if isinstance(node, ast.Constant) and isinstance(node.value, str)
            }  # what importlib is given
        if any(f"{name}.".startswith(f"{package}.") for name in names):
            users.add(named(path))
    assert users == {home}


def test_the_core_opens_no_files() -> None:
    wrong = {
        f"{named(path)} imports {name}"
        for path in MODULES
        if part_of(path) == "core"
        for name in imports(path)
        if name.split(".")[0] in ("ase", "mrcfile", "tifffile", "rsciio", "h5py")
    }
    assert not wrong


@pytest.mark.parametrize(
    "path", [path for path in MODULES if part_of(path) in ("cli", "commands")], ids=named
)
def test_commands_start_without_heavy_packages(path: Path) -> None:
    at_import = imports(path, only_at_import=True)
    assert not {name for name in at_import if name.split(".")[0] in HEAVY}
    # nor through modules of ours that need them
    ours = {name for name in at_import if name.startswith(("etcli.core", "etcli.io", "etcli.plotting"))}
    assert {name for name in ours if not name.startswith("etcli.core.errors")} == set()
