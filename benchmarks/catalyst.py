"""A simulated catalyst: displaced by known amounts, or in slices whose densities are known.

The series is ETSpy's `catalyst_180_bin2`: views from 0° to 178°, of 300 x 300 pixels.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import scipy.fft
from numpy.typing import NDArray

from etcli.core.registration.tilt_axis import alignment_matrix
from etcli.core.registration.transforms import Transforms, compose, resample

Array = NDArray[np.float32]
Float = NDArray[np.float64]

SOURCE = Path("etspy", "catalyst_180_bin2.mrc")
CANVAS = 512
LARGEST_SHIFT_PX = 10.0
NOISE = 0.05  # of the brightest pixel
NOISES = "none", "clipped", "signed"
LIMITED_DEG = 70
N = 150  # voxels of a slice each way
SLICES = 29, 61, 86, 112  # counted from the other end of y


@dataclass(frozen=True)
class Misfit:
    """What transforms leave of a misalignment.

    Any shift b cos θ + c sin θ across the axis is free, because it moves the specimen, and so is one shift of
    all views along it. ``offset_px`` is the rest of the shift across the axis that all views have in common;
    ``along_px`` and ``across_px`` are root mean squares of what is left then.
    """

    angle_deg: float
    offset_px: float
    along_px: float
    across_px: float


def read(data: Path, *, half_turn: bool) -> tuple[Array, Float]:
    """Return views and angles, from 0° to 178° or within ±70°."""
    path = data / SOURCE
    tilt = np.loadtxt(path.with_suffix(".rawtlt"))
    with mrcfile.open(path, permissive=True) as file:
        views = np.array(file.data, np.float32)
    if half_turn:
        return views, tilt
    beyond, within = tilt >= 180 - LIMITED_DEG, tilt <= LIMITED_DEG
    views = np.concatenate([views[beyond][:, :, ::-1], views[within]])
    return views, np.concatenate([tilt[beyond] - 180, tilt[within]])


def read_slices(data: Path) -> tuple[Array, Float, Array]:
    """Return rows of the views, binned by two, the angles, and the slices (row, z, x) they should give."""
    folder = (data / SOURCE).parent
    tilt = np.loadtxt((data / SOURCE).with_suffix(".rawtlt"))
    with mrcfile.mmap(data / SOURCE, permissive=True) as file:
        pairs = np.array([file.data[:, [-2 * k - 1, -2 * k - 2]] for k in SLICES], float).mean(axis=2)
    rows = pairs.reshape(len(SLICES), len(tilt), N, 2).mean(axis=3) / 2
    with mrcfile.mmap(folder / "catalyst_truth_bin4.mrc", permissive=True) as file:
        truth = np.array([file.data[-1 - k, ::-1] for k in SLICES], np.float32)
    return np.ascontiguousarray(rows.swapaxes(0, 1), np.float32), tilt, truth


def displace(
    views: Array,
    tilt_deg: Float,
    *,
    seed: int = 0,
    noise: str = "none",
    axis_deg: float = 0.0,
    offset_px: float = 0.0,
) -> tuple[Array, Transforms]:
    """Move every view by up to 10 px each way, the axis being at an angle and off the middle.

    Return the views and the transforms that align them. Nothing is below zero, unless the noise is "signed".
    """
    rng = np.random.default_rng(20240 + len(views) + 1000 * seed)
    # Drawn as (y, x), and noise, in ETSpy's frame.
    moved = rng.uniform(-LARGEST_SHIFT_PX, LARGEST_SHIFT_PX, (len(views), 2)) * (1, -1)
    errors = upright(rng.normal(0, NOISE * views.max(), turned(views).shape))
    matrix, shift = alignment_matrix(axis_deg, offset_px)
    align = Transforms(np.tile(matrix, (len(views), 1, 1)), np.tile(shift, (len(views), 1)))
    truth = compose(Transforms.shifts(-moved), align)
    if axis_deg or offset_px:
        away = truth.inverse()
        steps = zip(views, away.matrix, away.shift_px, strict=True)
        found = np.array([resample(*step, fill=0.0) for step in steps])
    else:
        found = np.array([_moved(view, by) for view, by in zip(views, moved, strict=True)])
    if noise != "none":
        found += errors
    if noise != "signed":
        np.clip(found, 0, None, out=found)
    return found, truth


def misfit(found: Transforms, truth: Transforms, tilt_deg: Float) -> Misfit:
    """Measure what is left of a misalignment."""
    left = compose(truth.inverse(), found)
    angle = np.rad2deg(np.arctan2(left.matrix[:, 0, 1], left.matrix[:, 0, 0]))
    tilt = np.deg2rad(tilt_deg)
    free = np.stack([np.ones_like(tilt), np.cos(tilt), np.sin(tilt)], axis=1)
    across, along = left.shift_px.T
    fit = np.linalg.lstsq(free, across)[0]
    rms = np.sqrt(np.mean((across - free @ fit) ** 2))
    return Misfit(float(angle.mean()), float(fit[0]), float(np.std(along)), float(rms))


def turned(views: NDArray[Any]) -> NDArray[Any]:
    """Return a series with its axis along y as one with its axis along x, as ETSpy has it."""
    return views.transpose(0, 2, 1)[:, :, ::-1]


def upright(views: NDArray[Any]) -> NDArray[Any]:
    """Return a series with its axis along x as one with its axis along y."""
    return views.transpose(0, 2, 1)[:, ::-1]


def _moved(view: Array, shift_px: Float) -> Array:
    """Move a view by (x, y) on a larger canvas, by its Fourier transform."""
    ny, nx = view.shape
    y, x = (CANVAS - ny) // 2, (CANVAS - nx) // 2
    canvas = np.zeros((CANVAS, CANVAS), np.float32)
    canvas[y : y + ny, x : x + nx] = view
    turn_x = np.exp(-2j * np.pi * scipy.fft.rfftfreq(CANVAS) * shift_px[0])
    turn_y = np.exp(-2j * np.pi * scipy.fft.fftfreq(CANVAS) * shift_px[1])[:, np.newaxis]
    found = scipy.fft.irfft2(scipy.fft.rfft2(canvas) * turn_x * turn_y, s=canvas.shape)
    return np.asarray(found[y : y + ny, x : x + nx], np.float32)
