"""Pores and networks whose numbers are known, beside what `segment` and `measure` find by default.

    python benchmarks/porosity.py DATA [VOLUMES] [--prefix h] [--porespy]

DATA is a folder of `make_measure.py`: a porous ball and a network with the truth. VOLUMES has their
reconstructions, [PREFIX]NAME_sirt.mrc (recon --method sirt --iterations 30 --nonnegative) and
[PREFIX]NAME_fista.mrc (--method fista --nonnegative). Bodies are whole labels (segment --split none).

Errors are in percent of the truth, thickness in nm. Last, a volume of 256³ voxels for the time. With
--porespy the local thickness of PoreSpy (twice its radii), of the same masks, stands beside ours.
"""

import argparse
import csv
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import etcli
from etcli.core.measurement.chords import mean_chords
from etcli.core.measurement.local_thickness import local_thickness
from etcli.pipeline.session import Silent

ENVELOPE_PX = 12
MARGIN = 6.0
END = 8.0
"""Ligaments are compared this far inside the region, and from the ends along y, as the truth was."""
SIDE = {38.0: 28, 28.0: 24}
"""First voxel of the box, for the radius of the region, in which chords and tortuosity are measured."""

Mask = NDArray[np.bool_]


def specimens(data: Path, volumes: Path, name: str, prefix: str) -> dict[str, etcli.Volume]:
    """Return a specimen as it is, and reconstructed."""
    paths = {"ideal": data / f"{name}.mrc"}
    paths |= {method: volumes / f"{prefix}{name}_{method}.mrc" for method in ("sirt", "fista")}
    return {label: etcli.read(path) for label, path in paths.items() if path.exists()}


def percent(value: float, truth: float) -> str:
    """Return a relative error."""
    return f"{100 * (value / truth - 1):+.2f}"


def pore_errors(data: Path, labels: NDArray[Any]) -> NDArray[np.float64]:
    """Return the relative errors of the volumes of closed pores, -1 for those that were not found."""
    with (data / "porous_balls.csv").open() as file:
        balls = list(csv.DictReader(file))
    with (data / "porous_truth.csv").open() as file:
        pores = [row for row in csv.DictReader(file) if row["kind"] == "closed"]
    counts = np.bincount(labels.ravel())
    errors = []
    for pore in pores:
        own = max(
            (ball for ball in balls if ball["pore"] == pore["pore"]), key=lambda ball: float(ball["r_nm"])
        )
        at = tuple(
            round(float(own[f"{axis}_nm"]) + (n - 1) / 2) for axis, n in zip("zyx", labels.shape, strict=True)
        )
        errors.append(counts[labels[at]] / float(pore["volume_nm3"]) - 1 if labels[at] else -1.0)
    return np.array(errors)


def porous_rows(data: Path, volume: etcli.Volume, peer: Callable[[Mask], Any] | None) -> dict[str, str]:
    """Measure the porous ball."""
    truth = json.loads((data / "porous_truth.json").read_text())
    labels = etcli.segment(volume, split=None).labels
    session = etcli.Session(reporter=Quiet())
    found = etcli.measure(volume, labels, pores=True, envelope=ENVELOPE_PX, session=session)
    closed = etcli.measure(volume, labels, thickness=True, session=session).totals["thickness"]["pores"]
    pores, sums = found.totals["pores"], found.pore_measures.pores.measures.sums
    kinds = np.concatenate([[False], found.pore_columns["kind"] == "closed"])
    mask = kinds[sums.numbers]
    errors = pore_errors(data, np.where(mask, sums.numbers, 0))
    rows = {
        "solid, %": percent(found.totals["volume_nm3"], truth["solid_volume_nm3"]),
        "closed pores": f"{pores['closed']} of {truth['n_closed']}",
        "closed volume, %": percent(pores["closed_volume_nm3"], truth["closed_pore_volume_nm3"]),
        "its σ, %": f"{100 * pores['sigma_closed_volume_nm3'] / pores['closed_volume_nm3']:.1f}",
        "a pore, rms %": f"{100 * np.sqrt((errors**2).mean()):.1f}",
        "open pores": f"{pores['open']} of {truth['n_open']}",
        "open volume, %": percent(pores["open_volume_nm3"], truth["open_pore_volume_nm3"]),
        "its σ (TV only), %": f"{100 * pores['sigma_open_porosity'] / pores['open_porosity']:.1f}",
        "porosity": f"{pores['porosity']:.4f} ({truth['porosity']:.4f})",
        "kinds change at -5; +5 %": "{close_at_lower_threshold}; {open_at_higher_threshold}".format(**pores),
        "too small": str(pores["small_left_out"]),
        "mean thickness": f"{closed['mean_nm']:.2f} ({truth['closed_pore_local_thickness_mean_nm']:.2f})",
    }
    if peer:
        rows["PoreSpy"] = f"{2 * float(peer(mask)[mask].mean()):.2f}"
    return rows


def network_rows(data: Path, volume: etcli.Volume, peer: Callable[[Mask], Any] | None) -> dict[str, str]:
    """Measure the network inside its region."""
    truth = json.loads((data / "network_truth.json").read_text())
    labels = etcli.segment(volume, split=None).labels
    session = etcli.Session(reporter=Quiet())
    n, radius = truth["n"], truth["roi_radius_nm"]
    axis = np.arange(n) - (n - 1) / 2
    distance = np.broadcast_to(np.hypot(axis[:, None], axis)[:, None, :], (n, n, n))
    region = distance < radius
    first = SIDE[radius]
    box = (slice(first, n - first), slice(None), slice(first, n - first))
    cube = np.zeros((n, n, n), np.uint8)
    cube[box] = 1
    found = etcli.measure(
        volume, labels, region=region.astype(np.uint8), pores=True, thickness=True, session=session
    )
    inner = (distance < radius - MARGIN) & (np.abs(axis) < n / 2 - END)[:, None]
    solid = np.asarray(labels.images()) > 0
    totals, map_nm = found.totals, found.thickness
    factors = [
        etcli.measure(volume, labels, region=cube, tortuosity=along, session=session).totals["tortuosity"]
        for along in "yz"
    ]
    chord = mean_chords(solid, cube > 0)
    rows = {
        "φ, %": percent(totals["volume_fraction"], truth["roi_volume_fraction"]),
        "S_V, %": percent(totals["surface_per_volume_nm-1"], truth["roi_surface_density_per_nm"]),
        "ligament": f"{map_nm[inner & solid].mean():.2f}",
        "pore": f"{map_nm[inner & ~solid].mean():.2f}",
        "pieces; loops; Euler": "{pieces}; {loops}; {euler_number}".format(**totals["network"]),
        "chord z/x": f"{chord[0] / chord[2]:.2f}",
        "τ y; z": "; ".join(f"{each['solid']:.3f}" for each in factors),
        "τ of pores y; z": "; ".join(f"{each['pores']:.3f}" for each in factors),
    }
    if peer:
        rows["PoreSpy ligament; pore"] = "; ".join(
            f"{2 * float(peer(mask)[mask & inner].mean()):.2f}" for mask in (solid, region & ~solid)
        )
    return rows


class Quiet(Silent):
    """Reporter that says nothing: warnings of the comparison are known."""

    def warn(self, text: str) -> None:
        """Do nothing."""


def random_network(n: int = 256, wavelength: float = 22.0) -> NDArray[np.float32]:
    """Return a Gaussian random field of one wavelength."""
    noise = np.fft.rfftn(np.random.default_rng(1).standard_normal((n, n, n)), axes=(0, 1, 2))
    z, x = np.fft.fftfreq(n), np.fft.rfftfreq(n)
    radius = np.sqrt(z[:, None, None] ** 2 + z[:, None] ** 2 + x**2)
    field = np.fft.irfftn(
        noise * np.exp(-(((radius - 1 / wavelength) / 0.006) ** 2)), (n, n, n), axes=(0, 1, 2)
    )
    return (field / field.std()).astype(np.float32)


def time_thickness(threads: int) -> str:
    """Measure how long the local thickness of a network of 256³ voxels takes."""
    field = random_network()
    solid = field > 0.385
    small = np.s_[:20, :20, :20]
    local_thickness(field[small], solid[small].astype(np.uint16), [0, 0.385], solid[small])  # compiled
    wall, cpu = time.perf_counter(), time.process_time()
    local_thickness(field, solid.astype(np.uint16), [0, 0.385], solid, threads=threads)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return f"local thickness of 256³ voxels: {wall:.1f} s on {threads} threads, {cpu:.1f} s of processors"


def print_table(columns: dict[str, dict[str, str]]) -> None:
    """Print a column for each volume."""
    print("| |" + "|".join(columns) + "|\n|" + "---|" * (len(columns) + 1))
    for name in next(iter(columns.values())):
        print(f"| {name} | " + " | ".join(rows[name] for rows in columns.values()) + " |", flush=True)
    print()


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("volumes", type=Path, nargs="?")
    parser.add_argument("--prefix", default="")
    parser.add_argument("--porespy", action="store_true")
    given = parser.parse_args()
    peer = None
    if given.porespy:
        from porespy.filters import local_thickness as peer
    for name, measured in (("porous", porous_rows), ("network", network_rows)):
        volumes = specimens(given.data, given.volumes or given.data, name, given.prefix)
        print_table({f"{name} {label}": measured(given.data, each, peer) for label, each in volumes.items()})
    print(time_thickness(etcli.Session().threads))


if __name__ == "__main__":
    main()
