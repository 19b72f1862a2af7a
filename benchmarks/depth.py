"""Depth sectioning from file to file: time, counts and depths of simulated balls of crystal.

python benchmarks/depth.py [--threads 1]

The library is the one that the series are made with, so errors are those of noise, drift and neighbours.
"""

import argparse
import csv
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

ETCLI = str(Path(sys.executable).with_name("etcli"))
CASES = (
    ("fcc:Au:4.078", (1, 0, 0), "4.2nm", 128, 9612),
    ("fcc:Au:4.078", (1, 1, 0), "4nm", 128, 9612),
    ("fcc:Au:4.078", (1, 0, 0), "4.2nm", 128, 2400),
    ("fcc:Pt:3.924", (1, 1, 1), "3nm", 128, 9612),
    ("bcc:W:3.165", (1, 1, 1), "4nm", 128, 9612),
    ("fcc:Au:4.078", (1, 0, 0), "10.3nm", 272, 9612),
)
"""Lattice, zone axis, diameter, pixels along a side, electrons per Å² and image."""


def column(path: Path, name: str) -> NDArray[np.float64]:
    """Read a column of a table."""
    with path.open() as rows:
        return np.array([float(row[name] or "nan") for row in csv.DictReader(rows)])


def main() -> None:
    """Print a row a case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", default="2")
    threads = parser.parse_args().threads
    print(f"{'':<26}  dose columns seconds found spurious  exact within1  z error")
    for lattice, zone, diameter, size, dose in CASES:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            beam = [str(index) for index in zone]
            # any direction across the beam
            across = [str(number) for number in np.cross(zone, (0.1, 0.5, 1.0)).round(6)]
            simulate = ["simulate", "focal", "-q", lattice, "--diameter", diameter, "--beam", *beam]
            simulate += ["--axis-direction", *across, "--size", str(size), "--dose", str(dose), "--mode", "1"]
            simulate += ["--drift", "0.3px", "--write-truth", str(folder / "truth.csv")]
            subprocess.run([ETCLI, *simulate, str(folder / "focal.mrc")], check=True)
            start = time.perf_counter()
            section = ["depthsect", "-q", "--threads", threads, "--lattice", lattice, "--zone", "".join(beam)]
            outputs = [str(folder / name) for name in ("columns.csv", "focal.mrc", "atoms.xyz")]
            subprocess.run([ETCLI, *section, "--csv", *outputs], check=True)
            seconds = time.perf_counter() - start
            print(f"{lattice + ' ' + ''.join(beam) + ' ' + diameter:<26} {dose:>5}", *rows(folder, seconds))


def rows(folder: Path, seconds: float) -> list[str]:
    """Compare the table with the truth."""
    found, truth = folder / "columns.csv", folder / "truth.csv"
    place, true_place = (
        np.column_stack([column(path, "x_A"), column(path, "y_A")]) for path in (found, truth)
    )
    for _ in range(3):  # the drift is known but for a shift of all columns
        away, which = cKDTree(place).query(true_place)
        matched = away < 0.6
        place = place + np.median((true_place - place[which])[matched], axis=0)
    wrong = np.abs(column(found, "count")[which] - column(truth, "count"))[matched]
    error = (column(found, "z_A")[which] - column(truth, "z_A"))[matched]
    spurious = len(place) - len(np.unique(which[matched]))
    exact, near = 100 * (wrong == 0).mean(), 100 * (wrong <= 1).mean()
    return [
        f"{len(true_place):7d} {seconds:7.1f} {100 * matched.mean():5.1f} {spurious:8d} {exact:6.1f}",
        f"{near:6.1f}  {np.sqrt(np.nanmean(error**2)):5.2f} Å",
    ]


if __name__ == "__main__":
    main()
