"""Surfaces of volumes with known volume and area, by `etcli mesh`.

    python benchmarks/surfaces.py DATA [VOLUMES] [--prefix h] [--size 256]

DATA and VOLUMES are those of `porosity.py`. Bodies of one material are meshed at the level of their edges,
particles by the labels of `segment` in their volume, and by these alone. Each surface is written as STL and
read back: the edges without two triangles are counted after vertices at one place have been merged. Errors
of the volume and of the area are in percent of the truth. Last come times: a network of SIZE³ voxels, its
reduction, and 100 000 labels.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

import etcli
from etcli.core.surfaces.edges import count_open_edges, merged
from etcli.core.surfaces.grey_surface import Surface
from etcli.core.surfaces.mesh import Mesh
from etcli.pipeline.session import Silent

Truth = tuple[float | None, float | None]

TRUTHS = {
    "porous": ("solid_volume_nm3", "surface_solid_nm2"),
    "network": ("solid_volume_nm3", None),
    "particles": ("volume_inside_nm3", "surface_inside_nm2"),
}
"""Keys of the volume and of the area; the ends of the network are cut."""
QUIET = etcli.Session(reporter=Silent())


def open_edges_of_stl(mesh: Mesh) -> int:
    """Write a surface as STL, and count the edges without two triangles in what is read."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "surface.stl"
        etcli.write(mesh, path)
        record = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
        corners = np.fromfile(path, record, offset=84)["corners"].reshape(-1, 3)
    return count_open_edges(merged(Surface(corners.astype(float), np.arange(len(corners)).reshape(-1, 3))))


def timed(name: str, *volumes: Any, truth: Truth = (None, None), **options: Any) -> None:
    """Mesh a volume and print its line."""
    started = time.perf_counter()
    mesh = etcli.mesh(*volumes, session=QUIET, **options)
    seconds = time.perf_counter() - started
    pairs = zip((mesh.volume, mesh.area), truth, strict=True)
    errors = [f"{100 * (value / true - 1):+8.2f}" if true else " " * 8 for value, true in pairs]
    print(f"{name:34s} {seconds:6.1f} {mesh.size.n_faces:9d} {open_edges_of_stl(mesh):5d} {' '.join(errors)}")


def balls(n_labels: int) -> np.ndarray[Any, np.dtype[np.int32]]:
    """Return labels of 4³ voxels, one voxel apart."""
    side = round(np.cbrt(n_labels))
    numbers = np.arange(1, side**3 + 1, dtype=np.int32).reshape(side, side, side)
    body = np.zeros((5, 5, 5), np.int32)
    body[:4, :4, :4] = 1
    return np.kron(numbers, body)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("volumes", type=Path, nargs="?")
    parser.add_argument("--prefix", default="")
    parser.add_argument("--size", type=int, default=256)
    arguments = parser.parse_args()
    print(f"{'':34s} {'s':>6s} {'triangles':>9s} {'open':>5s} {'V, %':>8s} {'S, %':>8s}")
    for name in TRUTHS:
        paths = {"ideal": arguments.data / f"{name}.mrc"}
        if arguments.volumes:
            paths |= {k: arguments.volumes / f"{arguments.prefix}{name}_{k}.mrc" for k in ("sirt", "fista")}
        known = json.loads((arguments.data / f"{name}_truth.json").read_text())
        volume_key, area_key = TRUTHS[name]
        truth = known[volume_key], known[area_key] if area_key else None
        for label, path in paths.items():
            volume = etcli.read(path, kind="volume")
            if name != "particles":
                timed(f"{name} {label}", volume, truth=truth)
                continue
            labels = etcli.segment(volume, session=QUIET).labels
            timed(f"{name} {label}, labels in volume", volume, labels, truth=truth)
            timed(f"{name} {label}, labels alone", labels, truth=truth)
    n = arguments.size
    noise = gaussian_filter(np.random.default_rng(0).normal(size=(n, n, n)).astype(np.float32), n / 40)
    timed(f"network of {n}³", noise, level=0.0)
    timed(f"network of {n}³, reduced to 0.2", noise, level=0.0, reduce=0.2)
    timed("100 000 labels", balls(100_000))


if __name__ == "__main__":
    main()
