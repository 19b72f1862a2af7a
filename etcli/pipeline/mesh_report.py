"""Numbers of a surface, for JSON and in words."""

from typing import Any

import numpy as np

from etcli.core.surfaces.mesh import Mesh, Size


def mesh_numbers(mesh: Mesh) -> dict[str, Any]:
    """Return the numbers of a surface for JSON; lengths in its unit, volumes of open ones null."""
    unit, closed = mesh.unit, not mesh.open_edges

    def of(size: Size) -> dict[str, Any]:
        return {
            f"surface_{unit}2": size.area,
            f"volume_{unit}3": size.volume if closed else None,
            "faces": size.n_faces,
        }

    return {
        "unit": unit,
        "level": mesh.level,
        "labels": None if mesh.labels is None else len(np.unique(mesh.labels)),
        "pieces": mesh.n_pieces,
        "vertices": len(mesh.surface.vertices),
        "open_edges": mesh.open_edges,
        **of(mesh.size),
        **{step: of(size) for step, size in _steps(mesh).items()},
    }


def mesh_lines(mesh: Mesh) -> list[str]:
    """Return the numbers of a surface in words, a line each."""
    unit, closed = mesh.unit.replace("A", "Å").replace("um", "µm"), not mesh.open_edges
    volume = f", volume {mesh.volume:.6g} {unit}³" if closed else f", open at {mesh.open_edges} edges"
    of_labels = "" if mesh.labels is None else f" of {len(np.unique(mesh.labels))} labels"
    pieces = "closed pieces" if closed else "pieces"
    lines = [
        f"surface {mesh.area:.6g} {unit}²{volume}: {mesh.size.n_faces} triangles in {mesh.n_pieces} {pieces}"
        f"{of_labels}"
    ]
    found, smoothed = mesh.extracted or mesh.size, mesh.smoothed or mesh.size
    if smoothed.area != found.area:
        what = "smoothing" if mesh.labels is None or not closed else "smoothing to the volume of the voxels"
        lines.append(f"{what} changed the {_changes(found, smoothed, closed=closed)}")
    if mesh.size.n_faces != smoothed.n_faces:
        lines.append(f"reduction changed the {_changes(smoothed, mesh.size, closed=closed)}")
    return lines


def _steps(mesh: Mesh) -> dict[str, Size]:
    """Return what was before smoothing and before the reduction."""
    steps = {"unsmoothed": mesh.extracted, "unreduced": mesh.smoothed}
    return {name: size for name, size in steps.items() if size is not None}


def _changes(before: Size, after: Size, *, closed: bool) -> str:
    """Return by how much the area and, where there is one, the volume have changed."""
    text = f"surface by {100 * (after.area / before.area - 1):+.2f} %"
    return text + (f", the volume by {100 * (after.volume / before.volume - 1):+.2f} %" if closed else "")
