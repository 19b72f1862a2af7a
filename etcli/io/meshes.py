"""Files of triangulated surfaces: STL, PLY and OBJ."""

from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli import __version__
from etcli.core.errors import UsageError
from etcli.core.surfaces.edges import with_single_precision
from etcli.core.surfaces.grey_surface import Surface, corners
from etcli.core.surfaces.label_colours import label_colours
from etcli.core.surfaces.mesh import Mesh

FORMATS = (".stl", ".ply", ".obj")
STL_HEADER = 80
TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
PLY_FACE = np.dtype([("n", "u1"), ("vertices", "<i4", 3)])
LINES = 100_000
"""Lines of text that are put together at once."""


def mesh_format(name: str) -> str:
    """Return the format that the ending of a name stands for; raise UsageError where it stands for none."""
    ending = PurePath(name).suffix.lower()
    if ending not in FORMATS:
        raise UsageError(
            f"{name}: cannot tell the format of the surface; end its name in {', '.join(FORMATS)}"
        )
    return ending[1:]


def write_mesh(path: Path, mesh: Mesh, *, form: str) -> None:
    """Write a surface with vertices x, y, z in single precision, each at a place of its own.

    Parameters
    ----------
    path : Path
    mesh : Mesh
    form : {"stl", "ply", "obj"}
        Binary STL, binary PLY with the colours of labels, or OBJ with a group for each label. All name the
        unit in their header, which few programs read.
    """
    write = {"stl": _write_stl, "ply": _write_ply, "obj": _write_obj}[form]
    write(path, with_single_precision(mesh.surface), mesh, f"etcli {__version__}, unit {mesh.unit}")


def _write_stl(path: Path, surface: Surface, mesh: Mesh, header: str) -> None:
    """Write binary STL: 80 bytes, the number of faces, and 50 bytes a face."""
    a, b, c = corners(surface)
    normals = np.cross(b - a, c - a)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    triangles = np.zeros(len(surface), TRIANGLE)
    triangles["normal"] = normals / np.where(length > 0, length, 1)
    triangles["corners"] = np.stack([a, b, c], axis=1)
    with path.open("wb") as file:
        file.write(header.encode("ascii").ljust(STL_HEADER))
        file.write(np.uint32(len(surface)).astype("<u4").tobytes())
        triangles.tofile(file)


def _write_ply(path: Path, surface: Surface, mesh: Mesh, header: str) -> None:
    """Write binary PLY; vertices of labels have a colour and the label."""
    fields: list[Any] = [("place", "<f4", 3)]
    names = ["float x", "float y", "float z"]
    if mesh.labels is not None:
        fields += [("colour", "u1", 3), ("label", "<i4")]
        names += ["uchar red", "uchar green", "uchar blue", "int label"]
    vertices = np.zeros(len(surface.vertices), np.dtype(fields))
    vertices["place"] = surface.vertices[:, ::-1]
    if mesh.labels is not None:
        vertices["label"][surface.faces] = mesh.labels[:, None]
        vertices["colour"] = (255 * label_colours(vertices["label"])).round()
    faces = np.zeros(len(surface), PLY_FACE)
    faces["n"], faces["vertices"] = 3, surface.faces
    lines = [
        "ply",
        "format binary_little_endian 1.0",
        f"comment {header}",
        f"element vertex {len(vertices)}",
        *(f"property {name}" for name in names),
        f"element face {len(faces)}",
        "property list uchar int vertex_indices",
        "end_header",
    ]
    with path.open("wb") as file:
        file.write("".join(f"{line}\n" for line in lines).encode("ascii"))
        vertices.tofile(file)
        faces.tofile(file)


def _write_obj(path: Path, surface: Surface, mesh: Mesh, header: str) -> None:
    """Write OBJ, which is text; the faces of each label are a group."""
    with path.open("w", encoding="ascii", newline="\n") as file:
        file.write(f"# {header}\n")
        for rows in _blocks(surface.vertices[:, ::-1]):
            file.write("v %.9g %.9g %.9g\n" * len(rows) % tuple(rows.ravel().tolist()))
        labels = np.zeros(len(surface), np.int64) if mesh.labels is None else mesh.labels
        for label in np.unique(labels):
            if mesh.labels is not None:
                file.write(f"g label_{label}\n")
            first, last = np.searchsorted(labels, [label, label + 1])
            for rows in _blocks(surface.faces[first:last] + 1):
                file.write("f %d %d %d\n" * len(rows) % tuple(rows.ravel().tolist()))


def _blocks(rows: NDArray[Any]) -> list[NDArray[Any]]:
    """Return the rows in blocks."""
    return [rows[start : start + LINES] for start in range(0, len(rows), LINES)]
