"""Resuming of an interrupted reconstruction from its finished slabs."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from etcli import __version__
from etcli.core.geometry import SliceGeometry
from etcli.io.finished_slabs import FinishedSlabs
from etcli.pipeline.session import Session


@contextmanager
def finished_slabs(session: Session, targets: list[str], key: str) -> Iterator[list[FinishedSlabs]]:
    """Open the store of finished slabs of each target; the stores are deleted after success."""
    stores = [
        FinishedSlabs(Path(f"{target}.resume"), f"{key}part {part}\n") for part, target in enumerate(targets)
    ]
    n_found = sum(map(len, stores))
    if n_found:
        session.reporter.report(f"going on from {n_found} finished slabs")
    yield stores
    for store in stores:
        store.remove()


def resume_key(files: Mapping[str, str | None], geometry: SliceGeometry, used: Mapping[str, Any]) -> str:
    """Return the key of finished slabs: a text of everything they depend on, except the division into slabs.

    Parameters
    ----------
    files : mapping of str to str or None
        Input files by their role.
    geometry : SliceGeometry
        Geometry of views and slices.
    used : mapping of str to object
        Other values, as used in the computation, not as typed by the user.
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
            status = Path(name).stat()
            lines.append(f"{role} {Path(name).resolve()}: {status.st_size} bytes of {status.st_mtime_ns}")
    return "\n".join(lines) + "\n"
