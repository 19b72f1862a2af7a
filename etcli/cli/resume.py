"""Going on with what an interrupted command had finished."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etcli import __version__
from etcli.cli.options import Settings

if TYPE_CHECKING:
    from etcli.core.geometry import SlabGeometry
    from etcli.io.finished import FinishedSlabs


@contextmanager
def finished_slabs(settings: Settings, targets: list[str], key: str) -> "Iterator[list[FinishedSlabs]]":
    """Open the slabs that were finished for each target; they go when all is well."""
    from etcli.io.finished import FinishedSlabs

    stores = [
        FinishedSlabs(Path(f"{target}.resume"), f"{key}part {part}\n") for part, target in enumerate(targets)
    ]
    n_found = sum(map(len, stores))
    if n_found:
        settings.console.report(f"going on from {n_found} finished slabs")
    yield stores
    for store in stores:
        store.remove()


def resume_key(files: Mapping[str, str | None], geometry: "SlabGeometry", used: Mapping[str, Any]) -> str:
    """Return everything that slabs depend on, but for how they are cut.

    Parameters
    ----------
    files : mapping of str to str or None
        What is read, by its role.
    geometry : SlabGeometry
        Views and slice.
    used : mapping of str to object
        Other values, as they are used and not as they were typed.
    """
    weight = geometry.view_weight
    lines = [
        f"etcli {__version__}",
        f"tilt angles {geometry.tilt_deg.tolist()}",
        f"weights {None if weight is None else weight.tolist()}",
        f"slice {geometry.n_detector, geometry.thickness, geometry.width}",
        f"offsets {geometry.axis_offset_px, geometry.z_offset_px}",
        *(f"{name} {value!r}" for name, value in used.items()),
    ]
    for role, name in files.items():
        if name:
            about = Path(name).stat()
            lines.append(f"{role} {Path(name).resolve()}: {about.st_size} bytes of {about.st_mtime_ns}")
    return "\n".join(lines) + "\n"
