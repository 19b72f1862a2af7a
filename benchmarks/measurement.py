"""Measures of bodies whose numbers are known, with the errors that `measure` states beside the true ones.

    python benchmarks/measurement.py DATA [VOLUMES] [--variants FOLDER]

DATA is a folder of `make_measure.py`: particles and a network with the truth, and the tilt series. VOLUMES
has their reconstructions, NAME_sirt.mrc and NAME_fista.mrc, of the particles also NAME_sirt_odd.mrc and
so on; what is missing is reconstructed there (recon --method sirt --iterations 30 --nonnegative, --method
fista --nonnegative, with --half-sets). With --variants, three more sets are made with the script in DATA and
measured: tilted to 60° in steps of 3° with three times the noise, tilted to 50°, and particles of three
densities.

The first table has errors in percent, as median ± 1.48 median deviation (rms); D is the true diameter in
voxels. Below it, how many of the errors are within one and two of the stated standard deviations, and beside
that what scikit-image measures of the same bodies: regionprops of an Otsu threshold, and marching cubes of
the labels.
"""

import argparse
import csv
import gzip
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
from numpy.typing import NDArray
from skimage.filters import threshold_otsu
from skimage.measure import label as pieces_of
from skimage.measure import marching_cubes, mesh_surface_area, regionprops

import etcli

METHODS = {
    "sirt": ("--method", "sirt", "--iterations", "30", "--nonnegative"),
    "fista": ("--method", "fista", "--nonnegative"),
}
LARGE = 10.0
THICKNESS = {"particles": 80, "network": None}

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Specimen:
    """Volume with its truth: of the particles a row for each, and their labels."""

    name: str
    truth: dict[str, NDArray[Any]]
    truth_labels: NDArray[Any]
    volume: etcli.Volume
    halves: tuple[etcli.Volume, etcli.Volume] | None = None
    series: etcli.TiltSeries | None = None


def read_truth(path: Path) -> dict[str, NDArray[Any]]:
    """Read the table of the particles."""
    with path.open() as file:
        rows = list(csv.DictReader(file))
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return {name: np.array(values, str if name == "shape" else float) for name, values in columns.items()}


def read_labels(data: Path) -> NDArray[Any]:
    """Read the labels of the true particles."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.mrc"
        path.write_bytes(gzip.decompress((data / "particles_labels.mrc.gz").read_bytes()))
        return np.array(mrcfile.read(path)).astype(int)


def reconstructed(data: Path, volumes: Path, name: str, method: str, thickness: int | None) -> Path:
    """Return the reconstruction of a series, made where it is missing."""
    path = volumes / f"{name}_{method}.mrc"
    if not path.exists():
        extra = ["--half-sets"] if name == "particles" else []
        extra += ["--thickness", f"{thickness}px"] if thickness else []
        command = [sys.executable, "-m", "etcli", "-q", "-j1", "recon", *METHODS[method], *extra]
        subprocess.run([*command, data / f"{name}_ts.mrc", path], check=True)
    return path


def specimens(data: Path, volumes: Path, prefix: str, thickness: int) -> Iterator[Specimen]:
    """Yield the particles: as they are, and reconstructed."""
    truth, labels = read_truth(data / "particles_truth.csv"), read_labels(data)
    yield Specimen(f"{prefix} ideal", truth, labels, etcli.read(data / "particles.mrc"))
    for method in METHODS:
        path = reconstructed(data, volumes, "particles", method, thickness)
        halves = [path.with_name(f"particles_{method}_{half}.mrc") for half in ("odd", "even")]
        yield Specimen(
            f"{prefix} {method}",
            truth,
            labels,
            etcli.read(path),
            (etcli.read(halves[0]), etcli.read(halves[1])) if halves[0].exists() else None,
            etcli.read(data / "particles_ts.mrc"),
        )


def matched(labels: NDArray[Any], truth: NDArray[Any]) -> tuple[NDArray[np.intp], int]:
    """Return the label that is each true body's own, -1 for none, and the errors of splitting."""
    n, m = int(truth.max()), int(labels.max())
    common = np.bincount((truth * (m + 1) + labels).ravel(), minlength=(n + 1) * (m + 1))
    shared = common.reshape(n + 1, m + 1)[1:, 1:]
    size = np.bincount(truth.ravel(), minlength=n + 1)[1:, np.newaxis]
    best, owner = shared.argmax(1), shared.argmax(0)
    is_seen = shared.max(1) > 0.25 * size[:, 0]
    is_merged = is_seen & (owner[best] != np.arange(n))
    parts = (shared > 0.08 * size) & (shared > 5) & (owner == np.arange(n)[:, np.newaxis])
    found = np.where(is_seen & ~is_merged, best, -1)
    return found, int((parts.sum(1) - 1).clip(0).sum() + is_merged.sum())


def spread(errors: Doubles) -> str:
    """Return median ± deviation (rms) of relative errors in percent."""
    errors = 100 * errors[np.isfinite(errors)]
    if not len(errors):
        return "-"
    middle = np.median(errors)
    deviation = 1.4826 * np.median(np.abs(errors - middle))
    return f"{middle:+.1f} ± {deviation:.1f} ({np.sqrt((errors**2).mean()):.1f})"


def covered(error: Doubles, sigma: Doubles) -> str:
    """Return percentages of errors within one and two standard deviations."""
    known = np.isfinite(sigma) & np.isfinite(error)
    if not known.any():
        return "blank"
    within = [100 * np.mean(np.abs(error[known]) <= k * sigma[known]) for k in (1, 2)]
    return f"{within[0]:.0f}/{within[1]:.0f}"


class Particles:
    """Measured particles beside the true ones, whole bodies only."""

    def __init__(self, specimen: Specimen) -> None:
        found = etcli.segment(specimen.volume).labels
        labels = np.asarray(found.images()).astype(int)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            self.found = etcli.measure(specimen.volume, found, halves=specimen.halves, series=specimen.series)
        self.warnings = [str(each.message) for each in told]
        self.specimen, self.labels = specimen, labels
        at, self.split_errors = matched(labels, specimen.truth_labels)
        truth = specimen.truth
        row = {int(label): k for k, label in enumerate(self.found.columns["label"])}
        self.at_all = np.array([row.get(int(label) + 1, -1) if label >= 0 else -1 for label in at])
        whole = truth["border"] == 0
        self.missed = int((self.at_all[whole] < 0).sum())
        self.unflagged = sum(1 for k in self.at_all[~whole] if k >= 0 and not self.found.columns["border"][k])
        use = whole & (self.at_all >= 0)
        self.at = self.at_all[use]
        self.truth = {name: values[use] for name, values in truth.items()}
        self.large = self.truth["eq_diameter_nm"] >= LARGE

    def column(self, name: str) -> NDArray[Any]:
        """Return a measured column in the order of the true bodies."""
        return self.found.columns[name][self.at]

    def error(self, name: str, true_name: str | None = None) -> Doubles:
        """Return relative errors of a column."""
        return np.asarray(self.column(name) / self.truth[true_name or name] - 1)

    def rows(self) -> dict[str, str]:
        """Return the numbers of the table."""
        truth, large, total = self.truth, self.large, self.found.totals
        volume, surface = self.error("volume_nm3"), self.error("surface_nm2")
        mass = self.found.measures.mass_volume[self.at] / truth["volume_nm3"] - 1
        faceted = np.isin(truth["shape"], ("cube", "octahedron"))
        axis = np.stack([self.column(f"axis1_{name}") for name in "xyz"], 1)
        cosine = np.abs((axis * np.stack([truth[f"major_{name}"] for name in "xyz"], 1)).sum(1))
        off = np.degrees(np.arccos(cosine.clip(0, 1)))
        centre = np.stack([self.column(f"{name}_nm") - truth[f"{name}_nm"] for name in "zyx"], 1)
        sums = self.column("volume_nm3").sum() / truth["volume_nm3"].sum() - 1
        spheres = self.found.measures.sums.covariance[self.at[truth["shape"] == "sphere"]]
        dense, mean = truth["density"], truth["eq_diameter_nm"].mean()
        return {
            "missed, splitting errors": f"{self.missed}, {self.split_errors}",
            "border bodies not flagged": str(self.unflagged),
            "V, total": f"{100 * sums:+.1f}",
            "V, D >= 10": spread(volume[large]),
            "V, D < 10": spread(volume[~large]),
            "mass volume, D >= 10": spread(mass[large]),
            "S, D >= 10": spread(surface[large]),
            "S, cubes and octahedra": spread(surface[faceted]),
            "S Crofton, D >= 10": spread(self.error("surface_crofton_nm2", "surface_nm2")[large]),
            "diameter, mean": f"{100 * (self.column('eq_diameter_nm').mean() / mean - 1):+.1f}",
            "centre rms z, y, x, px": " ".join(f"{rms:.2f}" for rms in np.sqrt((centre**2).mean(0))),
            "axis off, rods, °": f"{np.nanmedian(off[truth['shape'] == 'rod']):.1f}",
            "axis off, ellipsoids, °": f"{np.nanmedian(off[truth['shape'] == 'ellipsoid']):.1f}",
            "spheres zz/xx": f"{np.median(np.sqrt(spheres[:, 0, 0] / spheres[:, 2, 2])):.3f}",
            "density core": spread(self.column("density_core") / dense - 1),
            "density least squares": spread(self.column("density_lsq") / dense - 1),
            "expected elongation": f"{total['expected_elongation'] or np.nan:.2f}",
            **self.coverage(volume, surface),
            "warnings": str(len(self.warnings)),
        }

    def coverage(self, volume: Doubles, surface: Doubles) -> dict[str, str]:
        """Return how often the errors are within their standard deviations."""
        true = self.truth["volume_nm3"]
        sigma = self.column("sigma_volume_nm3") / true
        diameter = self.column("sigma_eq_diameter_nm") / self.truth["eq_diameter_nm"]
        totals, part = self.found.totals, np.isin(np.arange(len(self.found.columns["label"])), self.at)
        relative = totals["sigma_surface_nm2"] / totals["surface_nm2"]
        shape = np.isin(self.truth["shape"], ("cube", "octahedron"))
        mean_error = self.column("eq_diameter_nm").mean() - self.truth["eq_diameter_nm"].mean()
        total_error = self.column("volume_nm3").sum() - true.sum()
        share = self.column("volume_nm3").sum() / self.found.columns["volume_nm3"].sum()
        return {
            "sigma V, median": f"{100 * np.median(sigma):.1f}",
            "V within 1, 2 sigma": covered(volume, sigma),
            "half-sets alone": covered(volume, self.found.measures.sigma_half[self.at] / true),
            "D within 1, 2 sigma": covered(self.error("eq_diameter_nm"), diameter),
            "S within 1, 2 sigma": covered(surface[~shape], np.full(int((~shape).sum()), relative)),
            "total V, in sigma": f"{total_error / (totals['sigma_volume_nm3'] * share):+.1f}",
            "mean D, in sigma": f"{mean_error / totals['sigma_mean_eq_diameter_nm']:+.1f}",
            "spurious labels": str(int((~part).sum() - (self.at_all >= 0).sum() + len(self.at))),
            **self.peer(),
        }

    def peer(self) -> dict[str, str]:
        """Return what scikit-image measures: an Otsu threshold, and surfaces of labels."""
        values = np.asarray(self.specimen.volume.images(), np.float32)
        bodies = pieces_of(values > threshold_otsu(values), connectivity=3)
        at, errors = matched(bodies, self.specimen.truth_labels)
        areas = {each.label - 1: each.area for each in regionprops(bodies)}
        truth = self.specimen.truth
        whole = (truth["border"] == 0) & (at >= 0) & (truth["eq_diameter_nm"] >= LARGE)
        volume = np.array([areas[k] for k in at[whole]]) / truth["volume_nm3"][whole] - 1
        surface = []
        for row in np.asarray(self.at)[self.large]:
            box = self.found.measures.sums.box(int(row), 2)
            inside = np.pad(self.found.measures.sums.numbers[box] == row + 1, 1).astype(np.float32)
            surface.append(mesh_surface_area(*marching_cubes(inside, 0.5)[:2]))
        return {
            "scikit-image: V, D >= 10": f"{spread(volume)}, {errors} split",
            "scikit-image: S of labels": spread(surface / self.truth["surface_nm2"][self.large] - 1),
        }


def network_rows(data: Path, path: Path) -> dict[str, str]:
    """Measure the network within its region by a global threshold."""
    truth = json.loads((data / "network_truth.json").read_text())
    volume = etcli.read(path)
    values = np.asarray(volume.images(), np.float32)
    z, _, x = np.indices(values.shape) - (np.array(values.shape) - 1).reshape(3, 1, 1, 1) / 2
    region = (np.hypot(z, x) <= truth["roi_radius_nm"]).astype(np.float32)
    labels = etcli.segment(volume, "edge", split="none", min_size=1).labels
    totals = etcli.measure(volume, labels, region=region).totals
    phi, true_phi = totals["volume_fraction"], truth["roi_volume_fraction"]
    density, true_density = totals["surface_per_volume_nm-1"], truth["roi_surface_density_per_nm"]
    return {
        "volume fraction": f"{100 * (phi / true_phi - 1):+.1f}",
        "in sigma": f"{(phi - true_phi) / totals['sigma_volume_fraction']:+.1f}",
        "surface per volume": f"{100 * (density / true_density - 1):+.1f}",
        "in sigma ": f"{(density - true_density) / totals['sigma_surface_per_volume_nm-1']:+.1f}",
        "labels": str(totals["labels"]),
    }


def make_variants(script: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    """Make three more sets of particles with a copy of the script: kernels are kept beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    script = Path(shutil.copy(script, folder))
    spec = importlib.util.spec_from_file_location("make_measure", script)
    assert spec is not None and spec.loader is not None
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    usual = maker.noise

    def noisy(series: Doubles, rng: np.random.Generator) -> Doubles:
        high = np.percentile(series, 99)
        counts = rng.poisson(np.maximum(series, 0) / high * 100) / 100 * high
        return np.asarray(counts + rng.normal(0, 0.03 * high, series.shape))

    class InTurn(list[float]):
        """Densities that are used in turn, as the script knows two only."""

        used = 0

        def __getitem__(self, _: Any) -> Any:
            self.used += 1
            return tuple(self)[self.used % len(self)]

    names = ("triple", "pair", "rod", "ellipsoid", "cube", "octahedron", "border", "sphere")
    counts = dict(zip(names, (1, 4, 4, 5, 4, 5, 2, 12), strict=True))
    for name, reach, step, noise, seed, densities in (
        ("60 noisy", 60, 3, noisy, 777, (1.0, 0.6)),
        ("50", 50, 2, usual, 778, (1.0, 0.6)),
        ("3 densities", 70, 2, usual, 779, (1.0, 0.7, 0.45)),
    ):
        into = folder / name.replace(" ", "_")
        if not (into / "particles_ts.mrc").exists():
            into.mkdir(parents=True, exist_ok=True)
            maker.ANGLES, maker.noise = np.arange(-reach, reach + 0.1, step), noise
            maker.particles(into, seed, (72, 144, 144), counts, 9.0, InTurn(densities), np.float32)
        yield name, into


def print_table(columns: dict[str, dict[str, str]]) -> None:
    """Print a column for each volume."""
    names = list(next(iter(columns.values())))
    print("| |" + "|".join(columns) + "|\n|" + "---|" * (len(columns) + 1))
    for name in names:
        print(f"| {name} | " + " | ".join(rows[name] for rows in columns.values()) + " |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("volumes", type=Path, nargs="?")
    parser.add_argument("--variants", type=Path)
    parser.add_argument("--script", type=Path, help="make_measure.py, where it is not in DATA")
    given = parser.parse_args()
    volumes = given.volumes or given.data
    table = {}
    for specimen in specimens(given.data, volumes, "", THICKNESS["particles"] or 80):
        table[specimen.name] = Particles(specimen).rows()
    if given.variants:
        for name, folder in make_variants(given.script or given.data / "make_measure.py", given.variants):
            for specimen in specimens(folder, folder, name, 72):
                table[specimen.name] = Particles(specimen).rows()
    print_table(table)
    paths = {"ideal": given.data / "network.mrc"}
    paths |= {method: reconstructed(given.data, volumes, "network", method, None) for method in METHODS}
    print()
    print_table({method: network_rows(given.data, path) for method, path in paths.items()})


if __name__ == "__main__":
    main()
