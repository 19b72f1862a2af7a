"""Series of counts: what `recon --likelihood poisson` gains over least squares, both with total variation.

    python benchmarks/counts.py --quick
    python benchmarks/counts.py --data DIR

Each specimen is seen in 19 views within 67.5°, with Poisson noise of so many counts a pixel, on average where
the specimen is. Columns: ‖x - truth‖ / ‖truth‖ of `recon --method fista --nonnegative` and of
`recon --likelihood poisson`, each with the weight of the prior that it finds itself, the second as a
percentage of the first, and seconds of CPU time; means of the seeds. The particle, the needle and the head
are made by the code of `etcli simulate`; the maps of nickel, cobalt, platinum and the minor element chromium
are the noise-free ones of `spectral` in DIR, ETCLI_SHARED/data by default, left out where there are none.

`--quick` takes one seed and the smallest counts of the own specimens, half a minute; the whole half an hour.
"""

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import etcli
from etcli.core.quality import nrmse
from etcli.core.simulate.imaging import tilt_series
from etcli.core.simulate.particles import needle, particle
from etcli.core.simulate.phantoms import shepp_logan

SIZE = 64
TILT_DEG = np.arange(-67.5, 68, 7.5)
COUNTS = 1, 5, 20, 200
BRIGHT = 0.05
"""Pixels above this part of the brightest show the specimen."""

Array = NDArray[np.float32]
Specimen = tuple[str, Array, Array]
"""Name, noise-free views (view, y, x) and volume (z, y, x)."""


def own_specimens() -> Iterator[Specimen]:
    """Return a particle with many small ones on it, a needle of layers, and the head of Shepp and Logan."""
    rng = np.random.default_rng
    for name, specimen in (
        ("particle", particle(SIZE, rng(1))),
        ("needle", needle(SIZE, rng(1))),
        ("head", shepp_logan(SIZE)),
    ):
        series, _ = tilt_series(specimen, TILT_DEG, shape=(SIZE, SIZE), rng=rng(0))
        yield name, series.images().astype(np.float32), specimen.volume((SIZE, SIZE, SIZE)).images()


def element_maps(folder: Path) -> Iterator[Specimen]:
    """Return the noise-free maps of the elements in a folder."""
    for name in ("Ni", "Co", "Pt", "Cr"):
        maps, truth = folder / f"clean_{name}.mrc", folder / f"truth_{name}.mrc"
        if maps.exists() and truth.exists():
            views, volume = (etcli.read(str(file)).images().astype(np.float32) for file in (maps, truth))
            # every view shows all of the specimen
            yield name, views, volume * np.float32(views.sum() / len(views) / volume.sum())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("ETCLI_SHARED", "../shared"), "data")
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--counts", type=float, nargs="+")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    seeds = 1 if arguments.quick else arguments.seeds
    counts = arguments.counts or (COUNTS[:1] if arguments.quick else COUNTS)
    specimens = list(own_specimens())
    if not arguments.quick:
        specimens += element_maps(arguments.data / "spectral")
    print("specimen    counts  least squares  Poisson     %    s, s")
    for name, views, volume in specimens:
        on = views > BRIGHT * views.max()
        for level in counts:
            scale = np.float32(level / views[on].mean())
            rows = [compared(views * scale, volume * scale, seed) for seed in range(seeds)]
            squares, poisson, *seconds = np.mean(rows, axis=0)
            print(
                f"{name:12}{level:6g}{squares:15.3f}{poisson:9.3f}{100 * poisson / squares:6.0f}"
                f"{seconds[0]:6.1f}{seconds[1]:5.1f}",
                flush=True,
            )


def compared(expected: Array, truth: Array, seed: int) -> list[float]:
    """Return the errors and the seconds of least squares and of the likelihood of counts."""
    counts = np.random.default_rng(seed).poisson(expected).astype(np.float32)
    series = etcli.TiltSeries.of(counts, TILT_DEG, pixel_A=1.0)
    errors, seconds = [], []
    for likelihood in ("gaussian", "poisson"):
        start = time.process_time()
        found = etcli.reconstruct(
            series, method="fista", likelihood=likelihood, nonnegative=True, background="none",
            thickness=float(len(truth)),
        )  # fmt: skip
        seconds.append(time.process_time() - start)
        errors.append(nrmse(found.volume.images(), truth))
    return [*errors, *seconds]


if __name__ == "__main__":
    main()
