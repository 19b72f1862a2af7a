"""How well views are predicted by a reconstruction without them: alignment judged without a truth.

Misaligned views blur the reconstruction, and lie beside what it predicts. The fine detail tells, so both the
views and their predictions are band-passed before they are compared.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import mrcfile
import numpy as np
from aligners import Series, axis_command
from numpy.typing import NDArray
from processes import ProgramError, measure
from scipy import ndimage

from etcli.core.geometry import SliceGeometry
from etcli.core.parallel import ordered_map
from etcli.core.projectors.slab import WIDTHS, SlabProjector, from_slab, to_slab
from etcli.core.registration.transforms import Transforms, resample
from etcli.core.solvers.backprojection import inverse_sums
from etcli.core.solvers.sirt import sirt
from etcli.io.transforms import read_xf, write_xf

FOLDS = 6
RELAXATION = 1.9
BAND_PX = 1.0, 6.0  # widths of the two Gaussians
REACH_PX = 12  # of the wider one

Array = NDArray[np.float32]
Float = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Aligned:
    """A series aligned in a file, and how."""

    path: Path
    transforms: Transforms
    background: float
    angle_deg: float


@dataclass(frozen=True)
class Judged:
    """Norms of the residual of every view and of the view itself, (n_views, 2), and the angle of the axis."""

    norms: Float
    angle_deg: float

    @property
    def overall(self) -> float:
        """The norm of all residuals relative to that of all views."""
        residual, view = np.sqrt(np.sum(self.norms**2, axis=0))
        return float(residual / view)


def judge(
    series: Series, tilt_deg: Float, found: dict[str, Transforms], *, iterations: int, threads: int
) -> dict[str, Judged]:
    """Judge sets of shifts of one series over the region that all of them leave to all views."""
    stacks = {}
    for k, (name, shifts) in enumerate(found.items()):
        try:
            stacks[name] = align(series, settled(shifts, tilt_deg), f"judged{k}", threads=threads)
        except ProgramError as error:
            print(f"{name}: {error}\n", flush=True)
    region = np.logical_and.reduce([seen_by_all(stack) for stack in stacks.values()])
    print(f"{FOLDS} folds, {iterations} iterations, {region.sum()} pixels in common\n", flush=True)
    judged = {}
    for name, stack in stacks.items():
        with mrcfile.open(stack.path, permissive=True) as file:
            views = np.subtract(file.data, stack.background, dtype=np.float32)
        norms = residual_norms(views, tilt_deg, region, iterations=iterations, threads=threads)
        judged[name] = Judged(norms, stack.angle_deg)
    return judged


def settled(shifts: Transforms, tilt_deg: Float) -> Transforms:
    """Return the shifts relative to the view nearest 0°: what is common to all views is free."""
    return Transforms.shifts(shifts.shift_px - shifts.shift_px[np.argmin(np.abs(tilt_deg))])


def align(series: Series, shifts: Transforms, name: str, *, threads: int) -> Aligned:
    """Bring the axis upright to the middle, as it is found with these shifts."""
    before, xf = series.folder / f"{name}.shifts", series.folder / f"{name}.xf"
    write_xf(before, shifts)
    axis = json.loads(measure(axis_command(series, before, xf, threads=threads)).output)
    return Aligned(xf.with_suffix(".mrc"), read_xf(xf), axis["background"] or 0.0, axis["angle_deg"])


def seen_by_all(stack: Aligned) -> Mask:
    """Tell which pixels every view shows, with all that the filter takes in around them."""
    with mrcfile.mmap(stack.path, permissive=True) as file:
        shape = file.data.shape[1:]
    seen = np.ones(shape, bool)
    for each in zip(stack.transforms.matrix, stack.transforms.shift_px, strict=True):
        seen &= resample(np.ones(shape), *each, method="linear", fill=0.0) > 0.5
    return np.asarray(ndimage.binary_erosion(seen, np.ones((3, 3)), iterations=REACH_PX))


def residual_norms(views: Array, tilt_deg: Float, region: Mask, *, iterations: int, threads: int) -> Float:
    """Return the norms of residual and view, both band-passed, of shape (n_views, 2)."""
    rows = np.flatnonzero(region.any(axis=1))
    needed = slice(max(rows[0] - REACH_PX, 0), rows[-1] + REACH_PX + 1)
    views, region = np.ascontiguousarray(views[:, needed]), region[needed]
    found = predictions(views, tilt_deg, iterations=iterations, threads=threads)
    pairs = ((view - prediction, view) for view, prediction in zip(views, found, strict=True))
    return np.array([[np.linalg.norm(band_pass(image)[region]) for image in pair] for pair in pairs])


def predictions(views: Array, tilt_deg: Float, *, iterations: int, threads: int) -> Array:
    """Return each view as SIRT without it, and without others of its fold, has it.

    In the order of the angles every sixth view belongs to the same fold.
    """
    found = np.empty_like(views)
    fold = np.argsort(np.argsort(tilt_deg)) % FOLDS
    for k in range(FOLDS):
        out = fold == k
        found[out] = predict(
            views[~out], tilt_deg[~out], tilt_deg[out], iterations=iterations, threads=threads
        )
    return found


def predict(views: Array, tilt_deg: Float, wanted_deg: Float, *, iterations: int, threads: int) -> Array:
    """Reconstruct views and project the volume at other angles."""
    _, ny, nx = views.shape
    given, wanted = (SliceGeometry(angles, nx, nx, nx) for angles in (tilt_deg, wanted_deg))
    sums = inverse_sums(SlabProjector(given, n_slices=min(WIDTHS)), one_slice=True)

    def work(y: int) -> Array:
        rows = to_slab(views[:, y : y + max(WIDTHS)])
        width = rows.shape[-1]
        projector = SlabProjector(given, n_slices=width)
        volume = sirt(projector, rows, iterations=iterations, relaxation=RELAXATION, sums=sums)
        return from_slab(SlabProjector(wanted, n_slices=width).forward(volume), min(max(WIDTHS), ny - y))

    slabs = ordered_map(work, range(0, ny, max(WIDTHS)), threads=threads)
    return np.concatenate(list(slabs), axis=1)


def band_pass(image: Array) -> Array:
    """Return the difference of two Gaussian means."""
    fine, coarse = (ndimage.gaussian_filter(image, width, radius=REACH_PX) for width in BAND_PX)
    return np.asarray(fine - coarse)


def draw(path: Path, judged: dict[str, Judged], tilt_deg: Float) -> None:
    """Draw the residual of every view for the best of all shifts whose names begin with the same word."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    best: dict[str, str] = {}
    for name in sorted(judged, key=lambda name: judged[name].overall):
        best.setdefault(name.split()[0], name)
    for name in best.values():
        residual, view = judged[name].norms.T
        axes.plot(tilt_deg, residual / view, ".-", label=f"{name}: {judged[name].overall:.4f} overall")
    axes.set(xlabel="tilt angle, °", ylabel="residual of a view left out, relative", ylim=(0, None))
    axes.legend()
    figure.savefig(path, dpi=150)
