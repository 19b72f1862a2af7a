"""The frame of a reconstructed volume: where its rotation centre lies and how it is turned, in a label.

The header's origin says where the first voxel lies; this says where the views' centre does, in the same
coordinates, so that a volume that is cropped later still tells where its atoms are.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

OURS, FRAME = "etcli ", "etcli frame: "
LABEL = re.compile(rf"{FRAME}(\S+),(\S+),(\S+) A, voxel (\S+?)(?:, x-tilt (\S+?))?(, along y)?")
N_VIEWS = re.compile(r"etcli recon .*\b(\d+) views")
SAME = 1e-3
"""Relative difference of voxels that is none: a label has four digits."""


@dataclass(frozen=True)
class Frame:
    """Where a volume lies.

    Parameters
    ----------
    centre_A : (float, float, float)
        The rotation centre along x, y and z of the file, where the first voxel is at the header's origin.
    voxel_A : float
        Size of a voxel; where the header has another, it has been corrected, and lengths are others as well.
    x_tilt_deg : float
        What the volume is turned by about x, from y to z.
    along_y : bool
        Sections along y, with z downwards, as IMOD's tilt writes them.
    """

    centre_A: tuple[float, float, float]
    voxel_A: float
    x_tilt_deg: float = 0.0
    along_y: bool = False

    def label(self) -> str:
        """Return the label that `frame_of` understands."""
        words = FRAME + ",".join(f"{round(length, 3) + 0.0:.7g}" for length in self.centre_A) + " A"
        words += f", voxel {self.voxel_A:.4g}"
        x_tilt_deg = round(self.x_tilt_deg, 3)
        words += f", x-tilt {x_tilt_deg:.4g}" if x_tilt_deg else ""
        return words + (", along y" if self.along_y else "")


def frame_of(labels: Sequence[str]) -> Frame | None:
    """Return the frame of a volume with these labels, None where another program has changed it since."""
    for label in reversed(labels):
        if found := LABEL.fullmatch(label):
            x, y, z, voxel_A, x_tilt_deg, along_y = found.groups()
            place = float(x), float(y), float(z)
            return Frame(place, float(voxel_A), float(x_tilt_deg or 0), along_y is not None)
        if not label.startswith(OURS):
            break
    return None


def without_frame(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the labels of something that is no longer the volume."""
    return tuple(label for label in labels if not label.startswith(FRAME))


def with_voxels(labels: Sequence[str], voxel_A: float) -> tuple[str, ...]:
    """Return the labels of the volume after its voxels have become others at the same places."""
    frame = frame_of(labels)
    if frame is None:
        return without_frame(labels)
    return tuple(
        replace(frame, voxel_A=voxel_A).label() if label.startswith(FRAME) else label for label in labels
    )


def views_used(labels: Sequence[str]) -> int | None:
    """Return of how many views a volume with these labels was made, None where they don't tell."""
    made = next((label for label in reversed(labels) if label.startswith("etcli recon")), "")
    found = N_VIEWS.match(made)
    return int(found[1]) if found else None
