"""Frame of a volume as a label of its MRC header, for readers and for files without the full description.

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
    """Label of a frame, in the form that `frame_in` reads."""
    words = FRAME + ",".join(f"{round(length, 3) + 0.0:.7g}" for length in frame.centre_A) + " A"
    words += f", voxel {frame.voxel_A:.4g}"
    x_tilt_deg = round(frame.x_tilt_deg, 3)
    words += f", x-tilt {x_tilt_deg:.4g}" if x_tilt_deg else ""
    return words + (", along y" if frame.along_y else "")


def frame_in(labels: Sequence[str]) -> VolumeFrame | None:
    """Frame given by the labels, None where another program has changed the volume since."""
    for label in reversed(labels):
        if match := LABEL.fullmatch(label):
            *words, along_y = match.groups(default="0")
            try:
                x, y, z, voxel_A, x_tilt_deg = map(float, words)
            except ValueError:  # a damaged label
                return None
            return VolumeFrame((x, y, z), voxel_A, x_tilt_deg, along_y != "0", views_used(labels))
        if not label.startswith(OURS):
            break
    return None


def without_frame(labels: Sequence[str]) -> tuple[str, ...]:
    """Labels without that of the frame, for data that is no longer the same volume."""
    return tuple(label for label in labels if not label.startswith(FRAME))


def with_frame(labels: Sequence[str], frame: VolumeFrame) -> tuple[str, ...]:
    """Labels with a new frame, which takes the place of the earlier one if there is one."""
    if any(label.startswith(FRAME) for label in labels):
        return tuple(frame_label(frame) if label.startswith(FRAME) else label for label in labels)
    return (*labels, frame_label(frame))


def views_used(labels: Sequence[str]) -> int | None:
    """Number of views that a volume with these labels was reconstructed from, None where it is unknown."""
    recon_label = next((label for label in reversed(labels) if label.startswith("etcli recon")), "")
    match = N_VIEWS.match(recon_label)
    return int(match[1]) if match else None
