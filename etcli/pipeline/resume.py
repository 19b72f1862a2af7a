"""Resuming of an interrupted reconstruction from what was kept of it: finished slabs, or its state."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from etcli import __version__
from etcli.core.geometry import SliceGeometry
from etcli.io.keyed_folder import KeyedFolder
from etcli.pipeline.session import Session


@contextmanager
def kept_work(
    session: Session, targets: list[str], key: str, *, in_slabs: bool
) -> Iterator[list[KeyedFolder]]:
    """Open the folder of what is kept of each target; the folders are deleted after success.

    Parameters
    ----------
    session : Session
    targets : list of str
        The volumes to be written.
    key : str
        As `resume_key` returns it.
    in_slabs : bool
        Whether finished slabs are kept, whose number is reported, and not the state of the work.
    """
    folders = [
        KeyedFolder(Path(f"{target}.resume"), f"{key}part {part}\n") for part, target in enumerate(targets)
    ]
    n_found = sum(map(len, folders))
    if in_slabs and n_found:
        session.reporter.report(f"going on from {n_found} finished slabs")
    yield folders
    for folder in folders:
        folder.remove()


def resume_key(files: Mapping[str, str | None], geometry: SliceGeometry, used: Mapping[str, Any]) -> str:
    """Return the key of what is kept: a text of everything it depends on, except the division into slabs.

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
