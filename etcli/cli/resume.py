"""Going on with what an interrupted command had finished."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from etcli import __version__
from etcli.cli.options import Settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from etcli.io.finished import FinishedSlabs

INPUTS = ("input", "tilts", "euler", "mask", "initial", "view_weights")
# options that change nothing of the slabs
ASIDE = ("output", "resume", "with_halves", "dask", "plot", "error_curve", "as_json", "orient", "mode")


@contextmanager
def finished_slabs(
    settings: Settings, targets: list[str], tilt_deg: "NDArray[Any]"
) -> "Iterator[list[FinishedSlabs]]":
    """Open the slabs that were finished for each target; they go when all is well."""
    from etcli.io.finished import FinishedSlabs

    key = _key(settings, tilt_deg)
    stores = [FinishedSlabs(Path(f"{target}.resume"), key) for target in targets]
    n_found = sum(map(len, stores))
    if n_found:
        settings.console.report(f"going on from {n_found} finished slabs")
    yield stores
    for store in stores:
        store.remove()


def _key(settings: Settings, tilt_deg: "NDArray[Any]") -> str:
    """Return everything that the slabs depend on, but for how they are cut."""
    params: dict[str, Any] = click.get_current_context().params
    options = {name: value for name, value in params.items() if name not in (*INPUTS, *ASIDE)}
    lines = [f"etcli {__version__}", *(f"{name} = {value!r}" for name, value in sorted(options.items()))]
    for path in map(Path, settings.inputs):
        file = path.stat()
        lines.append(f"{path.resolve()}: {file.st_size} bytes of {file.st_mtime_ns}")
    return "\n".join([*lines, f"tilt angles {tilt_deg.tolist()}"]) + "\n"
