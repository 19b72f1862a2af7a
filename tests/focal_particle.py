"""A small gold particle in zone axis [001], and its through-focal series."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from etcli.core.depth.focal_library import focal_library
from etcli.core.depth.focal_optics import ColumnKind, FocalOptics
from etcli.core.depth.superposition import superposed_sections
from tests.files import write_stack

Float = NDArray[np.float64]

GOLD_A = 4.08
KIND = ColumnKind("Au", GOLD_A, 0.63)
PIXEL_A, SIZE, DOSE = 0.4, 48, 40_000.0
FOCUS_A = np.arange(-100.0, 101, 20)


@dataclass(frozen=True, eq=False)
class Particle:
    """Columns of gold along [001]; places in Å from the centre of the image, depths away from the source."""

    place_A: Float
    count: NDArray[np.int64]
    depth_A: Float

    @property
    def place_px(self) -> Float:
        """x and y in pixels."""
        return self.place_A / PIXEL_A + (SIZE - 1) / 2

    def sections(self, focus_A: Float = FOCUS_A, drift_px: Float | None = None) -> NDArray[np.float32]:
        """Images without noise in fractions of the beam."""
        library = focal_library(
            KIND,
            FocalOptics(),
            most_atoms=int(self.count.max()),
            focus_range_A=float(np.abs(focus_A).max() + np.abs(self.depth_A).max()),
            radius_A=6.0,
        )
        return superposed_sections(
            self.place_px,
            self.count,
            self.depth_A,
            library,
            focus_A=focus_A,
            shape=(SIZE, SIZE),
            pixel_A=PIXEL_A,
            displacement_px=drift_px,
        )


def particle(n: int = 4, *, least: int = 2, most: int = 7, seed: int = 0) -> Particle:
    """n² columns of a face-centred lattice, with counts and upper surface at random."""
    rng = np.random.default_rng(seed)
    i, j = (index.ravel() for index in np.indices((n, n)))
    place = GOLD_A / 2 * (np.column_stack([j, i]) - (n - 1) / 2)
    count = rng.integers(least, most + 1, n * n)
    # an atom of every column is at a multiple of the edge, or half of one in every second column
    lowest = np.rint((rng.uniform(-6, 6, n * n) - count * GOLD_A / 2) / GOLD_A) + 0.5 * ((i + j) % 2)
    return Particle(place, count, GOLD_A * (lowest + (count - 1) / 2))


def counted(sections: NDArray[np.float32], dose: float = DOSE, seed: int = 1) -> NDArray[np.int16]:
    """Electrons in every pixel."""
    return np.random.default_rng(seed).poisson(sections * dose * PIXEL_A**2).astype(np.int16)


def write_focal(path: Path, sections: np.ndarray, focus_A: Float = FOCUS_A) -> Path:
    """Write a series, and its defoci in µm beside it as NAME.defocus."""
    write_stack(path, sections, PIXEL_A)
    path.with_suffix(".defocus").write_text("".join(f"{-focus / 1e4:.6f}\n" for focus in focus_A))
    return path
