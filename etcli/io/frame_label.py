"""The frame of a volume as a label of its MRC header, for people to read and for files without better text.

A label has 80 characters and keeps a thousandth of an Å; the whole frame is in the extended header
(`etcli.io.volume_text`).
"""

import re
from collections.abc import Sequence

from etcli.core.volume_frame import VolumeFrame

OURS, FRAME = "etcli ", "etcli frame: "
LABEL = re.compile(rf"{FRAME}(\S+),(\S+),(\S+) A, voxel (\S+?)(?:, x-tilt (\S+?))?(, along y)?")
N_VIEWS = re.compile(r"etcli recon .*\b(\d+) views")


def frame_label(frame: VolumeFrame) -> str:
    """Label that `frame_in` understands."""
    words = FRAME + ",".join(f"{round(length, 3) + 0.0:.7g}" for length in frame.centre_A) + " A"
    words += f", voxel {frame.voxel_A:.4g}"
    x_tilt_deg = round(frame.x_tilt_deg, 3)
    words += f", x-tilt {x_tilt_deg:.4g}" if x_tilt_deg else ""
    return words + (", along y" if frame.along_y else "")


def frame_in(labels: Sequence[str]) -> VolumeFrame | None:
    """Frame that labels tell, None where another program has changed the volume since."""
    for label in reversed(labels):
        if found := LABEL.fullmatch(label):
            x, y, z, voxel_A, x_tilt_deg, along_y = found.groups()
            place = float(x), float(y), float(z)
            turned = float(x_tilt_deg or 0)
            return VolumeFrame(place, float(voxel_A), turned, along_y is not None, views_used(labels))
        if not label.startswith(OURS):
            break
    return None


def without_frame(labels: Sequence[str]) -> tuple[str, ...]:
    """Labels of something that is no longer the volume."""
    return tuple(label for label in labels if not label.startswith(FRAME))


def with_frame(labels: Sequence[str], frame: VolumeFrame) -> tuple[str, ...]:
    """Labels with a frame at the place of the one before, if there is one."""
    if any(label.startswith(FRAME) for label in labels):
        return tuple(frame_label(frame) if label.startswith(FRAME) else label for label in labels)
    return (*labels, frame_label(frame))


def views_used(labels: Sequence[str]) -> int | None:
    """Number of views that a volume with these labels was made of, None where they don't tell."""
    made = next((label for label in reversed(labels) if label.startswith("etcli recon")), "")
    found = N_VIEWS.match(made)
    return int(found[1]) if found else None
