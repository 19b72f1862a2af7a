"""Slices of ETSpy's catalyst that are known exactly, and the views they give."""

import mrcfile
import numpy as np

N = 150
SLICES = 29, 61, 86, 112  # counted from the other end of y
NOISE = 0.03  # of the brightest pixel


def catalyst_slices(folder):
    """Return rows of views (view, row, x) binned by two, tilt angles, and the slices (row, z, x)."""
    tilt = np.loadtxt(folder / "catalyst_180_bin2.rawtlt")
    with mrcfile.mmap(folder / "catalyst_180_bin2.mrc", permissive=True) as file:
        pairs = np.array([file.data[:, [-2 * k - 1, -2 * k - 2]] for k in SLICES], float).mean(axis=2)
    rows = pairs.reshape(len(SLICES), len(tilt), N, 2).mean(axis=3) / 2
    with mrcfile.mmap(folder / "catalyst_truth_bin4.mrc", permissive=True) as file:
        truth = np.array([file.data[-1 - k, ::-1] for k in SLICES], np.float32)
    return np.ascontiguousarray(rows.swapaxes(0, 1), np.float32), tilt, truth


def noisy(views):
    """Return views with noise that was drawn row by row."""
    n_views, n_rows, n_detector = views.shape
    noise = np.random.default_rng(1).normal(0, NOISE * views.max(), (n_rows, n_views, n_detector))
    return views + noise.swapaxes(0, 1).astype(np.float32)
