"""Planning of a tilt series for a known or guessed model: its zone axes, and the views that matter most."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.atomic_model import Atoms
from etcli.core.entropy.planning import EntropyCurve, predicted_entropies
from etcli.core.entropy.view_choice import (
    MOST_POINTS,
    ViewPlan,
    check_number,
    choose_views,
    density_ceilings,
    interior_points,
)
from etcli.core.errors import UsageError
from etcli.core.geometry import across_axis, tilt_range
from etcli.core.lengths import Length
from etcli.core.simulate.adf import Signal
from etcli.io.tables import write_table
from etcli.io.tilts import write_tilts
from etcli.pipeline.picture_output import announce_picture, check_picture
from etcli.pipeline.session import Session, with_one_blas_thread
from etcli.pipeline.simulate import pixel_size_A
from etcli.pipeline.simulate_atoms import AtomsSeriesRequest, oriented_atoms
from etcli.pipeline.text_output import check_text_names

ANGLE_FILES = (".tlt", ".rawtlt")
COUNTS = 1e6
"""Counts of an image, as in the paper."""
MOST_PIXELS = 4096


@dataclass(frozen=True)
class PlanRequest:
    """Options of a plan, named as those of ``etcli entropy --plan``.

    Parameters
    ----------
    specimen : AtomsSeriesRequest
        Model or lattice, its orientation, and how its atoms are imaged; with the counts of a view.
    angles : (float, float)
        First and last tilt angle of the holder.
    step_deg : float
        Distance of the tilt angles to choose from.
    n : int or None
        Number of views to choose; None for none.
    pixel : Length
    size : int or None
        Pixels along each side of a view; None for as many as the specimen needs.
    n_voxels : int or None
        Voxels along a ray; None for the size.
    form : {"gamma", "stirling"}
    """

    specimen: AtomsSeriesRequest
    angles: tuple[float, float] = (-70.0, 70.0)
    step_deg: float = 1.0
    n: int | None = None
    pixel: Length = Length(0.405, "A")
    size: int | None = None
    n_voxels: int | None = None
    form: str = "gamma"


@dataclass(frozen=True, eq=False)
class SeriesPlan:
    """Plan of a tilt series.

    Parameters
    ----------
    curve : EntropyCurve
        Entropies over the tilt angle, and zone axes.
    views : ViewPlan or None
        The views chosen, if asked for.
    n_atoms : int
    size : int
        Pixels along each side of the images.
    disordered_even_views : int
        Evenly spaced views that a choice of as many is worth for a disordered model.
    """

    curve: EntropyCurve
    views: ViewPlan | None
    n_atoms: int
    size: int
    disordered_even_views: int = 0

    @property
    def chosen_deg(self) -> NDArray[np.float64]:
        """Tilt angles of the views chosen."""
        return self.curve.tilt_deg[self.views.chosen] if self.views else np.empty(0)

    @property
    def table(self) -> dict[str, Any]:
        """Columns of the curve, one row per tilt angle."""
        curve = self.curve
        cube = float(curve.n_voxels) ** 3
        return {
            "tilt_angle_deg": curve.tilt_deg,
            "S": curve.entropy_nat,
            "S_per_N3": curve.entropy_nat / cube,
            "zero_fraction": curve.zero_fraction,
            "S_joint": curve.joint_nat,
            "S_joint_per_N3": curve.joint_nat / cube,
            "chosen": np.isin(curve.tilt_deg, self.chosen_deg).astype(int),
        }

    @property
    def numbers(self) -> dict[str, Any]:
        """The numbers of the plan, for ``--json``."""
        curve, cube = self.curve, float(self.curve.n_voxels) ** 3
        zone_axes = [
            {
                "tilt_angle_deg": axis.tilt_deg,
                "S": axis.entropy_nat,
                "S_per_N3": axis.entropy_nat / cube,
                "significance": axis.significance,
            }
            for axis in curve.zone_axes
        ]
        numbers = {
            "n_atoms": self.n_atoms,
            "n_voxels": curve.n_voxels,
            "median_S_per_N3": float(np.median(curve.entropy_nat)) / cube,
            "disorder_S_per_N3": curve.disorder_nat / cube,
            "zone_axes": zone_axes,
        }
        if self.views:
            numbers |= {
                "chosen_deg": self.chosen_deg,
                "even_views": self.views.even_views,
                "disordered_even_views": self.disordered_even_views,
            }
        return numbers


def plan_views(
    atoms: Atoms,
    n: int | None = None,
    *,
    angles: tuple[float, float] = (-70.0, 70.0),
    step_deg: float = 1.0,
    session: Session | None = None,
    pixel: Length | float | str = 0.405,
    size: int | None = None,
    resolution: Length | float | str | None = None,
    spheres: Length | float | str | None = None,
    counts: float = COUNTS,
) -> SeriesPlan:
    """Plan a tilt series of a known or guessed model, before the experiment.

    Parameters
    ----------
    atoms : Atoms
        Positions from the rotation centre, with the tilt axis along y and the beam at 0° along z.
    n : int, optional
        Number of views to choose; by default only the entropies are predicted.
    angles : (float, float)
        First and last tilt angle of the holder in degrees.
    step_deg : float
        Distance of the tilt angles to choose from.
    session : Session, optional
        Threads and reporter; `Session()` by default.
    pixel : length
        Pixel size in Å.
    size : int, optional
        Pixels along each side of a view; by default as many as the specimen needs.
    resolution : length, optional
        First zero of the Airy disc of an atom; 1.6 Å by default.
    spheres : length, optional
        Radius of the spheres that are imaged in place of Airy discs.
    counts : float
        Sum of the counts of a view.

    Returns
    -------
    SeriesPlan

    Raises
    ------
    UsageError
        When a number is out of range.

    Examples
    --------
    >>> import numpy as np, etcli
    >>> line = np.arange(-8.0, 9.0, 4.0)
    >>> cubes = np.stack(np.meshgrid(line, line, line), axis=-1).reshape(-1, 3)
    >>> plan = etcli.plan_views(etcli.Atoms(cubes, np.full(125, "Si")), 6, angles=(-60, 60), step_deg=3)
    >>> round(plan.curve.zone_axes[0].tilt_deg) in (-45, 0, 45)
    True
    >>> len(plan.chosen_deg)
    6
    """
    specimen = AtomsSeriesRequest(
        "",
        resolution=None if resolution is None else Length.parse(resolution, "A"),
        spheres=None if spheres is None else Length.parse(spheres, "A"),
        counts=counts,
    )
    specimen.check()
    request = PlanRequest(specimen, angles, step_deg, n, Length.parse(pixel, "A"), size)
    return plan_series(session or Session(), atoms, request)


@with_one_blas_thread
def plan_series(session: Session, atoms: Atoms, request: PlanRequest) -> SeriesPlan:
    """Plan a series as requested; see `plan_views`."""
    pixel_A = pixel_size_A(request.pixel)
    signal, weight = request.specimen.signal(pixel_A), request.specimen.weight(atoms)
    size = request.size or _size(atoms, signal, pixel_A)
    if size > MOST_PIXELS:
        raise UsageError(f"views of {size} pixels are needed; give a larger --pixel, or a smaller --diameter")
    if 2 * _radius_px(atoms, pixel_A) > size:
        raise UsageError(
            f"atoms lie outside views of {size} pixels; give --size {_size(atoms, signal, pixel_A)}"
        )
    if abs(request.angles[1] - request.angles[0]) > 360:
        raise UsageError("--range is more than a full turn; give the angles that the holder reaches")
    tilt_deg = tilt_range(*request.angles, request.step_deg)
    _check_angles(session, tilt_deg, request.n)
    images = _Images(atoms.position_A / pixel_A, weight, signal, size, request.specimen.counts or COUNTS)
    n_images = len(tilt_deg) * (1 if request.n is None else 3)
    with session.reporter.progress(n_images, "entropy of views") as advance:
        curve = predicted_entropies(
            images.tilted,
            tilt_deg,
            disordered=lambda k: images.disordered_model(k).tilted(0.0),
            n_voxels=request.n_voxels,
            form=request.form,
            threads=session.threads,
            progress=advance,
        )
        views, disordered_even_views = None, 0
        if request.n is not None:
            choices = []
            # spheres show where atoms are; what can be told apart is decided by the microscope
            seen = replace(images, signal=request.specimen.microscope(pixel_A))
            for model in (seen, seen.disordered_model(0)):
                points_px = interior_points(model.position_px, max(1.0, seen.signal.extent_px) / 2)
                ceilings = density_ceilings(
                    model.tilted, tilt_deg, points_px, threads=session.threads, progress=advance
                )
                choices.append(choose_views(ceilings, tilt_deg, request.n, threads=session.threads))
            views, disordered_even_views = choices[0], choices[1].even_views
    plan = SeriesPlan(curve, views, len(atoms), size, disordered_even_views)
    _report(session, plan)
    return plan


def plan_files(
    request: PlanRequest,
    session: Session,
    *,
    output: str | None = None,
    csv: str | None = None,
    plot: str | None = None,
) -> SeriesPlan:
    """Plan a series of a model in a file or of a lattice, and write table, picture and tilt angles.

    Parameters
    ----------
    request : PlanRequest
    session : Session
    output : str, optional
        File of the tilt angles chosen, ``.tlt`` or ``.rawtlt``.
    csv, plot : str, optional
        The curve as a table and as a picture.

    Returns
    -------
    SeriesPlan

    Raises
    ------
    DataError, UsageError
        As for `plan_views`, and when the model cannot be read; no output is written then.
    """
    if output and (request.n is None or not output.lower().endswith(ANGLE_FILES)):
        raise UsageError(
            f"{output}: with --plan, --output is for the angles of --select, in a .tlt or .rawtlt file"
        )
    check_picture(plot)
    check_text_names(table=csv)
    request.specimen.check()
    atoms = oriented_atoms(session, request.specimen, pixel_size_A(request.pixel), np.random.default_rng(0))
    with session.outputs() as outputs:
        angles_file, table_file = (outputs.path(name) if name else None for name in (output, csv))
        write_picture = announce_picture(outputs, plot) if plot else None
        plan = plan_series(session, atoms, request)
        if angles_file:
            write_tilts(angles_file, plan.chosen_deg)
        if table_file:
            write_table(table_file, plan.table)
        if write_picture:
            from etcli.plotting.entropy import entropy_curve

            curve = plan.curve
            figure = entropy_curve(
                curve.tilt_deg,
                curve.entropy_nat,
                curve.joint_nat,
                n_voxels=curve.n_voxels,
                chosen=plan.views.chosen if plan.views else (),
                zone_axes_deg=[axis.tilt_deg for axis in curve.zone_axes],
            )
            write_picture(figure)
    return plan


@dataclass(frozen=True, eq=False)
class _Images:
    """Images of a model without noise, of a given number of counts."""

    position_px: NDArray[np.float64]
    weight: NDArray[np.float64]
    signal: Signal
    size: int
    counts: float

    def tilted(self, angle_deg: float) -> NDArray[np.float64]:
        """Image at a tilt angle."""
        across_px = across_axis(self.position_px, angle_deg)
        place_px = np.stack([across_px, self.position_px[:, 1]], axis=1)
        image = self.signal.image(place_px, self.weight, (self.size, self.size))
        image *= self.counts / image.sum()
        return image

    def disordered_model(self, k: int) -> "_Images":
        """Images of the atoms at their distances from the centre, but in random directions."""
        direction = np.random.default_rng(k).normal(size=self.position_px.shape)
        radius = np.linalg.norm(self.position_px, axis=1) / np.linalg.norm(direction, axis=1)
        return replace(self, position_px=direction * radius[:, np.newaxis])


def _size(atoms: Atoms, signal: Signal, pixel_A: float) -> int:
    """Return the pixels along each side that the atoms need in any view, with a margin of one atom."""
    return 2 * int(np.ceil(_radius_px(atoms, pixel_A) + max(1.0, signal.extent_px)))


def _radius_px(atoms: Atoms, pixel_A: float) -> float:
    """Return the largest distance of an atom from the rotation centre, in pixels."""
    if not len(atoms):
        raise UsageError("there are no atoms; a series is planned for two atoms or more")
    return float(np.linalg.norm(atoms.position_A, axis=1).max()) / pixel_A


def _check_angles(session: Session, tilt_deg: NDArray[np.float64], n: int | None) -> None:
    """Check the tilt angles to choose from, before any image is computed; raise UsageError."""
    if 4 * len(tilt_deg) * MOST_POINTS > session.memory:
        raise UsageError(f"{len(tilt_deg)} tilt angles take too much --memory; give a larger --step")
    if n is not None:
        check_number(n, len(tilt_deg))


def _report(session: Session, plan: SeriesPlan) -> None:
    """Tell the user what stands out, and what the choice is worth."""
    if not plan.curve.zone_axes:
        session.reporter.report(
            "no view stands out: entropies differ no more than those of disordered models"
        )
    if plan.views:
        n = len(plan.views.chosen)
        session.reporter.report(
            f"these {n} views limit the density as {plan.views.even_views} evenly spaced ones do on average; "
            f"of a disordered model, as {plan.disordered_even_views}"
        )
