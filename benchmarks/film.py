"""Atoms of areas of a film, from the volume and refined, beside the published ones; and controls without.

    python benchmarks/film.py FOLDER... [--keep FOLDER] [--controls] [--left-out]

Every folder holds the views (projections.mrc), their orientations (angles.csv: phi,theta,psi) and the
published atoms (truth.xyz), as the areas of the tantalum film of Yuan et al., Nat. Mater. 21, 95 (2022), do.
The commands are those that README gives for a film, with defaults: `recon --extend`, `trace-atoms --species
Ta` without and with `--refine`. Both lists are cut to the box that leaves 20 pixels of margin along x and y,
and compared one-to-one within 1 Å. Bars, pooled over all areas: 85 % found, false ones at most 15 % of the
published, deviations not larger refined than from the volume.

`--controls` traces what has no atoms: the smooth part of the views with noise of the spectrum of the rest
(random phases), with white noise, and blurred; each has to be refused. `--left-out` makes all from five
sixths of the views, and compares how well the atoms predict the others: mean squares of the residual in its
variance, the same for both, and their difference with its standard error between views.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import mrcfile
import numpy as np
from numpy.typing import NDArray
from processes import ProgramError, measure
from scipy import ndimage

from etcli.core.atoms.gaussian_model import AtomViews, left_out_misfit, start_model
from etcli.core.atoms.match import match_atoms
from etcli.core.atoms.surroundings import reconstruct_surroundings
from etcli.core.orientation import rotation_matrices
from etcli.core.view_subsets import every_sixth
from etcli.io.atoms import read_atoms

RECIPE = ["recon", "--method", "fista", "--prior", "none", "--nonnegative", "--extend", "--iterations", "45"]
TRACE = ["trace-atoms", "--species", "Ta"]
MARGIN_PX, CUTOFF_A = 20, 1.0
SMOOTH_PX, BLUR_PX, DIFFUSE_A = 8, 6, 2.5

Array = NDArray[np.float64]


def write_views(views: Array, angles: str, pixel_A: float, target: Path) -> tuple[Path, Path]:
    """Write a series and its orientations; return both files."""
    target.mkdir(parents=True, exist_ok=True)
    images, orientations = target / "views.mrc", target / "angles.csv"
    with mrcfile.new(images, views.astype(np.float32), overwrite=True) as file:
        file.voxel_size = pixel_A
    orientations.write_text(angles)
    return images, orientations


def trace(images: Path, angles: Path, target: Path, *, refine: bool) -> Path:
    """Run the commands, the first of them if its output is not there; return the file of atoms."""
    volume, atoms = target / "film.mrc", target / ("refined.xyz" if refine else "traced.xyz")
    if not volume.exists():
        measure(["etcli", *RECIPE, "--euler", angles, images, volume])
    against = ["--refine", images, "--euler", angles] if refine else []
    atoms.unlink(missing_ok=True)
    measure(["etcli", *TRACE, *against, volume, atoms])
    return atoms


def in_box(place_A: Array, shape: tuple[int, ...], pixel_A: float) -> Array:
    """Return the places away from the borders of a view."""
    half_A = ((np.array(shape[::-1]) - 1) / 2 - MARGIN_PX) * pixel_A
    return place_A[(abs(place_A[:, :2]) < half_A).all(axis=1)]


def areas(folders: list[Path], work: Path) -> None:
    """Print the table of atoms found, false and moved."""
    print(f"{'area':24} {'from':8} {'published':>9} {'found %':>8} {'false %':>8} {'rms pm':>7} {'all':>6}")
    for refine in (False, True):
        pooled = np.zeros(4)
        way = "refined" if refine else "volume"
        for folder in folders:
            with mrcfile.open(folder / "projections.mrc", permissive=True) as file:
                shape, pixel_A = file.data.shape[1:], float(file.voxel_size.x)
            target = work / folder.name
            target.mkdir(parents=True, exist_ok=True)
            found_A = read_atoms(
                trace(folder / "projections.mrc", folder / "angles.csv", target, refine=refine)
            ).position_A
            model_A = in_box(found_A, shape, pixel_A)
            published_A = in_box(read_atoms(folder / "truth.xyz").position_A, shape, pixel_A)
            pairs = match_atoms(model_A, published_A, cutoff_A=CUTOFF_A)
            square = ((model_A[pairs.found] - published_A[pairs.reference]) ** 2).sum()
            row = np.array([len(published_A), len(pairs), len(model_A) - len(pairs), square])
            pooled += row
            report(folder.name, way, row, len(found_A))
        report("pooled", way, pooled, 0)


def report(name: str, way: str, row: Array, n_all: int) -> None:
    """Print a row: atoms published, found and false, and their squared deviations."""
    published, found, false, square = row
    rms_pm = 100 * np.sqrt(square / max(found, 1))
    print(
        f"{name:24} {way:8} {published:9.0f} {100 * found / published:8.1f} {100 * false / published:8.1f} "
        f"{rms_pm:7.1f} {n_all or '':>6}",
        flush=True,
    )


def controls(folders: list[Path], work: Path) -> None:
    """Print what tracing says of views without atoms."""
    rng = np.random.default_rng(1)
    for folder in folders:
        views, angles, pixel_A = loaded(folder)
        smooth = ndimage.gaussian_filter(views, (0, SMOOTH_PX, SMOOTH_PX), mode="nearest")
        rest = views - smooth
        phase = np.angle(np.fft.rfft2(rng.standard_normal(views.shape)))
        random_phases = np.fft.irfft2(abs(np.fft.rfft2(rest)) * np.exp(1j * phase), s=views.shape[1:])
        white = rest.std() * rng.standard_normal(views.shape)
        blurred = ndimage.gaussian_filter(views, (0, BLUR_PX, BLUR_PX))
        made = {
            "random phases": smooth + random_phases,
            "white noise": smooth + white / 2,
            "blurred": blurred + white / 50,
        }
        for name, images in made.items():
            target = work / f"{folder.name}_{name.replace(' ', '_')}"
            try:
                files = write_views(images, angles, pixel_A, target)
                n_atoms = len(read_atoms(trace(*files, target, refine=False)))
                said = f"NOT REFUSED: {n_atoms} atoms"
            except ProgramError as error:
                said = str(error).partition(".mrc: ")[2]
            print(f"{folder.name:24} {name:14} {said[:90]}", flush=True)


def left_out(folders: list[Path], work: Path) -> None:
    """Print how well atoms from five sixths of the views predict the others."""
    print(f"{'area':24} {'volume':>8} {'refined':>8} {'refined - volume':>24}")
    for folder in folders:
        views, angles, pixel_A = loaded(folder)
        head, *rows = angles.split()
        euler_deg = np.array([[float(value) for value in row.split(",")] for row in rows])
        out = np.zeros(len(views), bool)
        out[every_sixth(euler_deg[:, 1])] = True
        target = work / f"{folder.name}_five_sixths"
        used_rows = "\n".join([head, *(row for row, left in zip(rows, out, strict=True) if not left)])
        files = write_views(views[~out], f"{used_rows}\n", pixel_A, target)
        every = AtomViews(views, rotation_matrices(euler_deg), pixel_A, diffuse_A=DIFFUSE_A)
        used = every.of_views(~out)
        misfits, weight = [], None
        for refine in (False, True):
            atoms = read_atoms(trace(*files, target, refine=refine))
            with mrcfile.open(target / "film.mrc", permissive=True) as file:
                nz, ny, nx = file.data.shape
            around = reconstruct_surroundings(used, (nz, ny, nx), pixel_A, np.zeros(3), 0.0)
            left = replace(every, outside=around.views_of_outside(every)).of_views(out)
            name = "amplitude" if refine else "score"
            sigma_A = np.array([np.median(atoms.columns["sigma_A"])])
            kind = np.zeros(len(atoms), int)
            fitted = start_model(atoms.position_A, atoms.columns[name], kind, sigma_A, left)
            misfit, weight = left_out_misfit(fitted, left, weight)
            misfits.append(misfit)
        change = misfits[1] - misfits[0]
        error = change.std(ddof=1) / np.sqrt(len(change))
        print(
            f"{folder.name:24} {misfits[0].mean():8.4f} {misfits[1].mean():8.4f} "
            f"{change.mean():+14.4f} ± {error:.4f}",
            flush=True,
        )


def loaded(folder: Path) -> tuple[Array, str, float]:
    """Return the views of an area, the text of their orientations, and the size of a pixel."""
    with mrcfile.open(folder / "projections.mrc", permissive=True) as file:
        views, pixel_A = np.array(file.data, np.float64), float(file.voxel_size.x)
    return views, (folder / "angles.csv").read_text(), pixel_A


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--keep", type=Path, help="folder for volumes and atoms, temporary by default")
    parser.add_argument("--controls", action="store_true", help="views without atoms")
    parser.add_argument("--left-out", action="store_true", help="prediction of left-out views")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = options.keep or Path(temporary)
        if options.controls:
            controls(options.folders, work)
        elif options.left_out:
            left_out(options.folders, work)
        else:
            areas(options.folders, work)


if __name__ == "__main__":
    main()
