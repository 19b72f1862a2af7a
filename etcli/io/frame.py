"""The frame of a reconstructed volume: where its rotation centre lies and how it is turned, in a label.

The header's origin says where the first voxel lies; this says where the views' centre does, in the same
coordinates, so that a volume that is cropped later still tells where its atoms are.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from etcli.io.save import Step

LABEL = re.compile(r"etcli recon \S+: centre at (\S+),(\S+),(\S+) A(?:, x-tilt (-?[0-9.e-]+))?(, along y)?")
N_VIEWS = re.compile(r"etcli recon .*\b(\d+) views")


@dataclass(frozen=True)
class Frame:
    """Where a volume lies.

    Parameters
    ----------
    centre_A : (float, float, float)
        The rotation centre along x, y and z of the file, where the first voxel is at the header's origin.
    x_tilt_deg : float
        What the volume is turned by about x, from y to z.
    along_y : bool
        Sections along y, with z downwards, as IMOD's tilt writes them.
    """

    centre_A: tuple[float, float, float]
    x_tilt_deg: float = 0.0
    along_y: bool = False

    def label(self) -> str:
        """Return the label that `frame_of` understands."""
        words = "centre at " + ",".join(f"{round(length, 3) + 0.0:.6g}" for length in self.centre_A) + " A"
        words += f", x-tilt {self.x_tilt_deg:g}" if self.x_tilt_deg else ""
        return str(Step("recon", words + (", along y" if self.along_y else "")))


def frame_of(labels: Sequence[str]) -> Frame | None:
    """Return the frame of a volume with these labels, None where they don't tell."""
    for label in reversed(labels):
        if found := LABEL.fullmatch(label):
            x, y, z, x_tilt_deg, along_y = found.groups()
            return Frame((float(x), float(y), float(z)), float(x_tilt_deg or 0), along_y is not None)
    return None


def views_used(labels: Sequence[str]) -> int | None:
    """Return of how many views a volume with these labels was made, None where they don't tell."""
    counts = (int(found[1]) for label in reversed(labels) if (found := N_VIEWS.match(label)))
    return next(counts, None)
