"""Errors of segmented volumes and of the splitting, of specimens of which every number is known.

    python benchmarks/segmentation.py FOLDER [FOLDER ...] [--volumes FOLDER] [--no-twin]

A folder has `porous`, `network` and `particles`: tilt series (NAME_ts.mrc), ideal volumes (NAME.mrc) and
their truth (NAME_truth.json, particles_truth.csv, particles_labels.mrc.gz). Each series is reconstructed by
SIRT (30 iterations, non-negative) and by FISTA with total variation; with --volumes the reconstructions are
kept there for the next run. The tables are:

1. Bodies of one material: error of the volume in % by rule, with bias and rms of all; `default` is what
   `etcli segment` does without options.
2. Particles, with default options and with --split 0.5px: bodies found, over-splits, merged ones, error of
   the total volume, median and rms error of those of at least 10 and of less than 10 voxels in diameter.
3. Pairs of ideal overlapping balls, made here: share that is parted, by overlap, and rods and cubes that
   are left whole.
"""

import argparse
import csv
import json
import tempfile
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
from numpy.typing import NDArray

import etcli
from etcli.core.segmentation.segment import LabelRules, find_labels
from etcli.core.series import TiltSeries, Volume

Labels = NDArray[np.int64]

BODIES = ("porous", "network")
RULES = ("otsu", "multi-otsu", "mixture", "edge", "default", "twin")
RECONSTRUCTIONS: dict[str, dict[str, Any]] = {
    "SIRT": {"method": "sirt", "iterations": 30, "nonnegative": True},
    "TV": {"method": "fista", "nonnegative": True},
}
HELD, FRAGMENT, INSIDE = 0.25, 0.08, 0.4
"""Shares of a true body: a label that holds it, one that is a fragment of it, one that is inside another."""
LARGE_PX = 10.0
OVERLAPS, PAIRS = (0.0, 0.1, 0.2, 0.3), 24


def reconstructed(folder: Path, name: str, method: str, kept: Path) -> Volume:
    """Return the volume of a series, reconstructed unless there is one."""
    target = kept / f"{folder.name}_{name}_{method}.mrc"
    if not target.is_file():
        series, ideal = (
            etcli.read(folder / f"{name}_ts.mrc"),
            etcli.read(folder / f"{name}.mrc", kind="volume"),
        )
        assert isinstance(series, TiltSeries)
        assert isinstance(ideal, Volume)
        thickness = f"{ideal.shape[0]}px"
        result = etcli.reconstruct(series, thickness=thickness, **RECONSTRUCTIONS[method])
        etcli.write(result.volume, target)
    volume = etcli.read(target, kind="volume")
    assert isinstance(volume, Volume)
    return volume


def thresholds_table(folders: list[Path], kept: Path, rules: tuple[str, ...]) -> None:
    """Print the errors of the volume of bodies of one material."""
    print(f"\n{'volume, % off':28s}" + "".join(f"{rule:>12s}" for rule in rules))
    for method in RECONSTRUCTIONS:
        rows = []
        for folder in folders:
            for name in BODIES:
                true = json.loads((folder / f"{name}_truth.json").read_text())["solid_volume_nm3"]
                volume = reconstructed(folder, name, method, kept)
                series = etcli.read(folder / f"{name}_ts.mrc")
                rows.append([error(volume, series, rule, true, method) for rule in rules])
                print_row(f"{folder.name} {name} {method}", rows[-1])
        print_row(f"bias {method}", np.mean(rows, axis=0))
        print_row(f"rms {method}", np.sqrt(np.mean(np.square(rows), axis=0)))


def error(volume: Volume, series: Any, rule: str, true_nm3: float, method: str) -> float:
    """Return the error of the volume in % by one rule."""
    options: dict[str, Any] = {"split": "none", "one_threshold": rule != "default"}
    if rule == "twin":

        def rebuild(views: TiltSeries) -> Volume:
            settings = {**RECONSTRUCTIONS[method], "thickness": f"{volume.shape[0]}px", "background": "none"}
            return etcli.reconstruct(views, **settings).volume

        options |= {"series": series, "rebuild": rebuild}
    found = etcli.segment(volume, None if rule == "default" else rule, **options)
    voxel_nm3 = ((volume.pixel_A or 10.0) / 10) ** 3
    return 100 * (float(found.volume_px[1:].sum()) * voxel_nm3 / true_nm3 - 1)


def print_row(name: str, values: Any) -> None:
    """Print errors in %."""
    print(f"{name:28s}" + "".join(f"{value:+12.2f}" for value in values), flush=True)


def particles_table(folders: list[Path], kept: Path) -> None:
    """Print how the particles of all folders are found and measured."""
    print(
        "\nparticles, % off             split found  over merged  total   D >= 10: med, rms  D < 10: med, rms"
    )
    for folder in folders:
        with (folder / "particles_truth.csv").open() as file:
            truth = list(csv.DictReader(file))
        with mrcfile.open(folder / "particles_labels.mrc.gz", permissive=True) as file:
            true_labels = np.asarray(file.data, np.int64)
        for method in ("ideal", *RECONSTRUCTIONS):
            ideal = method == "ideal"
            volume = (
                etcli.read(folder / "particles.mrc", kind="volume")
                if ideal
                else reconstructed(folder, "particles", method, kept)
            )
            assert isinstance(volume, Volume)
            for split in ("0.75px", "0.5px"):
                found = etcli.segment(volume, split=split)
                labels = np.asarray(found.labels.images(), np.int64)
                print_particles(f"{folder.name} {method}", split, labels, truth, true_labels)


def print_particles(
    name: str, split: str, labels: Labels, truth: list[dict[str, str]], true_labels: Labels
) -> None:
    """Print one row of the table of particles."""
    shared = overlaps(true_labels, labels)
    inside = shared[1:, 1:]
    sizes, counts = shared[1:].sum(axis=1, keepdims=True), shared[:, 1:].sum(axis=0)
    best, is_found = inside.argmax(axis=1), inside.max(axis=1) > HELD * sizes[:, 0]
    owner = inside.argmax(axis=0)
    fragments = (owner == np.arange(len(inside))[:, np.newaxis]) & (inside > FRAGMENT * sizes)
    over = int(np.maximum(fragments.sum(axis=1) - 1, 0).sum())
    merged = int(np.maximum((inside > INSIDE * sizes).sum(axis=0) - 1, 0).sum())
    whole = np.array([row["border"] in ("0", "False") for row in truth])
    volumes, diameters = (
        np.array([float(row[column]) for row in truth]) for column in ("volume_nm3", "eq_diameter_nm")
    )
    use = whole & is_found
    errors = 100 * (counts[best] / volumes - 1)
    total = 100 * (counts[best][use].sum() / volumes[use].sum() - 1)
    words = [f"{name:28s} {split:>6s} {use.sum():3d}/{whole.sum():2d} {over:4d} {merged:6d} {total:+7.2f}"]
    for size in (use & (diameters >= LARGE_PX), use & (diameters < LARGE_PX)):
        words.append(f"   {np.median(errors[size]):+7.2f} {np.sqrt(np.mean(errors[size] ** 2)):7.2f}")
    print("   ".join(words), flush=True)


def overlaps(first: Labels, second: Labels) -> Labels:
    """Return the number of voxels of each pair of labels."""
    n, m = int(first.max()) + 1, int(second.max()) + 1
    return np.bincount((first * m + second).ravel(), minlength=n * m).reshape(n, m)


def overlapping_balls_table() -> None:
    """Print how often pairs of overlapping balls are parted, and rods and cubes are left whole."""
    grid = np.stack(np.meshgrid(*[np.arange(44) - 21.5] * 3, indexing="ij"))
    print("\npairs parted, by overlap in diameters of the smaller; rods and cubes left whole")
    for split_px in (0.25, 0.5, 0.75, 1.0):
        rng = np.random.default_rng(11)
        row = [
            np.mean([parts(pair(grid, rng, overlap), split_px) == 2 for _ in range(PAIRS)])
            for overlap in OVERLAPS
        ]
        single = np.mean([parts(block(grid, rng), split_px) == 1 for _ in range(PAIRS)])
        words = "  ".join(f"{overlap:.0%} {share:.2f}" for overlap, share in zip(OVERLAPS, row, strict=True))
        print(f"--split {split_px}px   {words}   whole {single:.2f}", flush=True)


def parts(mask: Any, split_px: float) -> int:
    """Return the number of labels of a mask."""
    return int(find_labels(mask, LabelRules(split_px)).labels.max())


def pair(grid: Any, rng: np.random.Generator, overlap: float) -> Any:
    """Return two overlapping balls at a random place and direction."""
    large = rng.uniform(5, 9)
    small = large * rng.uniform(0.55, 1)
    direction = rng.normal(size=3)
    direction /= np.linalg.norm(direction)
    apart = large + small - 2 * small * overlap
    middle = rng.uniform(-0.5, 0.5, 3)
    return ball(grid, middle - direction * apart / 2, large) | ball(
        grid, middle + direction * apart / 2, small
    )


def ball(grid: Any, centre: Any, radius: float) -> Any:
    """Return a digitised ball."""
    return ((grid - np.reshape(centre, (3, 1, 1, 1))) ** 2).sum(axis=0) < radius**2


def block(grid: Any, rng: np.random.Generator) -> Any:
    """Return a rod or a cube in a random orientation."""
    axes = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turned = np.abs(np.tensordot(axes, grid - rng.uniform(-0.5, 0.5, (3, 1, 1, 1)), 1))
    radius = rng.uniform(5, 9)
    if rng.integers(2):
        return turned.max(axis=0) < 0.8 * radius
    along = np.maximum(turned[0] - 1.2 * radius, 0)
    return along**2 + turned[1] ** 2 + turned[2] ** 2 < (0.6 * radius) ** 2


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--volumes", type=Path)
    parser.add_argument("--no-twin", action="store_true")
    given = parser.parse_args()
    rules = RULES[:-1] if given.no_twin else RULES
    with tempfile.TemporaryDirectory() as folder:
        kept = given.volumes or Path(folder)
        kept.mkdir(exist_ok=True)
        thresholds_table(given.folders, kept, rules)
        particles_table(given.folders, kept)
    overlapping_balls_table()


if __name__ == "__main__":
    main()
