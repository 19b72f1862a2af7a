"""Alignment of a simulated catalyst whose displacements and axis are known, against ETSpy 1.3."""

from functools import cache, partial

import mrcfile
import numpy as np
import pytest
import scipy.fft

from etcli.core.registration.correlation import correlate_views
from etcli.core.registration.tilt_axis import alignment_matrix, com_axis
from etcli.core.registration.transforms import Transforms, resample
from tests.series import left_over

CANVAS = 512


SPANS = ["±70°", pytest.param("0…178°", marks=pytest.mark.slow)]


@cache
def catalyst(folder, span):
    """Views and tilts, not to be changed."""
    path = folder / "etspy" / "catalyst_180_bin2"
    tilt = np.loadtxt(path.with_suffix(".rawtlt"))
    with mrcfile.open(path.with_suffix(".mrc"), permissive=True) as file:
        views = np.array(file.data, np.float32)
    if span == "±70°":
        beyond = tilt >= 110
        views = np.concatenate([views[beyond][:, :, ::-1], views[tilt <= 70]])
        tilt = np.concatenate([tilt[beyond] - 180, tilt[tilt <= 70]])
    return unchanging(views, tilt)


@cache
def moved_catalyst(folder, span, noisy):
    """Displaced views, tilts, and by how much they are displaced, not to be changed."""
    views, tilt = catalyst(folder, span)
    moved, noise = draw(views)
    views = np.array([displaced(view, shift) for view, shift in zip(views, moved, strict=True)])
    if noisy:
        views = np.clip(views + noise, 0, None).astype(np.float32)
    return unchanging(views, tilt, moved)


def unchanging(*arrays):
    for array in arrays:
        array.flags.writeable = False
    return arrays


@pytest.fixture(params=SPANS)
def series(shared_data, request):
    return catalyst(shared_data, request.param)


@pytest.fixture(params=SPANS)
def moved_series(shared_data, request):
    """The displaced series, as a function of whether it is noisy."""
    return partial(moved_catalyst, shared_data, request.param)


def displaced(view, shift):
    """Move a view by (x, y) exactly, on a larger canvas."""
    n = len(view)
    start = (CANVAS - n) // 2
    canvas = np.zeros((CANVAS, CANVAS), np.float32)
    canvas[start : start + n, start : start + n] = view
    turn_y = np.exp(-2j * np.pi * scipy.fft.fftfreq(CANVAS) * shift[1])[:, None]
    turn_x = np.exp(-2j * np.pi * scipy.fft.rfftfreq(CANVAS) * shift[0])
    moved = scipy.fft.irfft2(scipy.fft.rfft2(canvas) * turn_y * turn_x, s=canvas.shape)
    return moved[start : start + n, start : start + n]


def draw(views):
    """Shifts and noise as they were for the peer."""
    rng = np.random.default_rng(20240 + len(views))
    moved = rng.uniform(-10, 10, (len(views), 2))
    return moved, rng.normal(0, 0.05 * views.max(), views.shape)


def background(views):
    rim = [views[:, 0], views[:, -1], views[:, :, 0], views[:, :, -1]]
    return float(np.mean(rim))


# RMS px left along and across the axis. ETSpy's best by correlation, upsampled 20 times:
# .063 .118 and 3.21 1.26 noisy within ±70°, .030 .124 and 2.83 1.78 noisy to 178°.
@pytest.mark.parametrize("noisy", [False, True])
def test_shifts(moved_series, noisy):
    views, tilt, moved = moved_series(noisy)
    found = correlate_views(views, tilt)
    along, across = left_over(found.shift_px, moved, tilt)
    print(f"\n{len(tilt)} views, {'noisy' if noisy else 'clean'}: along {along:.3f}, across {across:.3f} px")
    limits = (0.2, 0.45) if noisy else (0.02, 0.09)
    assert along < limits[0]
    assert across < limits[1]
    assert found.residual_px < 0.1
    assert not found.doubtful.any()


def test_axis_in_noise(series):
    views, tilt = series
    moved, noise = draw(views)
    matrix, shift = alignment_matrix(3.0, 5.0)
    back = np.linalg.inv(matrix)
    places = zip(views, moved - back @ shift, strict=True)
    turned = np.array([resample(view, back, place, fill=0.0) for view, place in places])
    turned = np.clip(turned + noise, 0, None).astype(np.float32)
    axis = com_axis(turned, tilt, background=background(turned), transforms=Transforms.shifts(-moved))
    print(
        f"\n{len(tilt)} views: axis {axis.angle_deg:.3f} ± {axis.angle_sigma_deg:.3f}°, "
        f"{axis.offset_px:.3f} ± {axis.offset_sigma_px:.3f} px"
    )
    assert axis.angle_deg == pytest.approx(3, abs=0.05)
    assert axis.offset_px == pytest.approx(5, abs=0.1)
