"""How much of the views a volume leaves unexplained, of good series and of spoilt ones.

    python benchmarks/explained.py --data DIR

The limits of `etcli.pipeline.explained_views` rest on such tables. For tilt series in DIR (data of other
people, ETCLI_SHARED/data by default): per cent of 16 rows in the middle that 30 iterations of SIRT leave
unexplained, with and without noise; then without noise for the same views after normal displacements (rms
3 px in both directions), with the angles in random order, and with the tilt axis displaced by a tenth of the
width. "hidden" is a series whose noise hides the rest. The needle is aligned first by `register` and
`tiltalign`, and shown as recorded beside it. Takes half a minute.
"""

import argparse
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

import etcli
from etcli.pipeline.explained_views import HIDING

ROWS, RMS_PX = 16, 3.0
SERIES = (
    "etspy/catalyst_180_bin2",
    "measure/particles_ts",
    "measure/porous_ts",
    "measure/network_ts",
    "spectral/haadf",
    "aet/Ta_film_area24/projections",
    "aet/Ta_film_area8/projections",
    "aet/NP1_aSi_208_dose1p6e5/projections",
    "aet/NP1_aSi_208_dose1p6e4/projections",
)

Array = NDArray[np.float32]


def main() -> None:
    """Print one row a series."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    shared = os.environ.get("ETCLI_SHARED", "../shared")
    parser.add_argument("--data", type=Path, default=Path(shared, "data"))
    rng = np.random.default_rng(1)
    warnings.simplefilter("ignore", etcli.EtcliWarning)  # the table says it
    print(f"{'series':40} views    with without displaced shuffled axis off")
    for name, series in aligned_series(parser.parse_args().data):
        views, angles = np.asarray(series.images(), np.float32), np.asarray(series.tilt_deg)
        residual, rest = unexplained(views, angles)
        moved = np.stack(
            [ndimage.shift(v, RMS_PX * rng.standard_normal(2), order=1, mode="nearest") for v in views]
        )
        aside = displaced(views, (0, 0, views.shape[2] / 10))
        spoilt = [(moved, angles), (views, rng.permutation(angles)), (aside, angles)]
        cells = [rest, *(unexplained(*one)[1] for one in spoilt)]
        print(
            f"{name:40} {len(views):5} {100 * residual:7.1f} "
            + " ".join(f"{cell:>{width}}" for cell, width in zip(cells, (7, 9, 8, 8), strict=True)),
            flush=True,
        )


def aligned_series(data: Path) -> Iterator[tuple[str, etcli.TiltSeries]]:
    """Yield the series of `data`, with their names."""
    needle = read(data / "etspy" / "needle_raw.mrc")
    yield "needle, as recorded", needle
    registered = etcli.register(needle)
    yield "needle, aligned", etcli.tiltalign(needle, before=registered.transforms).series
    for name in SERIES:
        yield name, read((data / name).with_suffix(".mrc"))


def read(path: Path) -> etcli.TiltSeries:
    """Read the tilt series in `path`."""
    series = etcli.read(path)
    assert isinstance(series, etcli.TiltSeries)
    return series


def displaced(images: Array, shift_px: Sequence[float] | NDArray[np.float64]) -> Array:
    """Return `images` displaced by `shift_px`, by linear interpolation."""
    return np.asarray(ndimage.shift(images, shift_px, order=1, mode="nearest"), np.float32)


def unexplained(views: Array, angles: NDArray[np.float64]) -> tuple[float, str]:
    """Return the share of the middle rows left unexplained, and per cent of it without noise, or "hidden"."""
    first = (views.shape[1] - ROWS) // 2
    series = etcli.TiltSeries.of(views[:, first : first + ROWS], angles, pixel_A=1.0)
    numbers = etcli.reconstruct(series, method="sirt", iterations=30).errors.numbers
    noise = numbers["unexplained_noise"]
    rest = numbers["unexplained"]
    hidden = rest is None or noise > HIDING
    return numbers["residual"], "hidden" if hidden else f"{100 * rest:.1f}"


if __name__ == "__main__":
    main()
