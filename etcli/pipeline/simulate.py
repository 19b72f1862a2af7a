"""Simulation of the tilt series that a microscope would record of a specimen with known properties."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import UsageError
from etcli.core.geometry import tilt_range
from etcli.core.lengths import Length
from etcli.core.series import TiltSeries
from etcli.core.simulate.acquisition import AcquisitionErrors, GroundTruth
from etcli.core.simulate.imaging import dose_symmetric, tilt_series
from etcli.core.simulate.particles import needle, particle
from etcli.core.simulate.phantoms import shepp_logan
from etcli.core.simulate.solids import Specimen
from etcli.core.simulate.true_solids import true_solids
from etcli.core.view_table import ViewTable
from etcli.core.volume_frame import VolumeFrame
from etcli.io.atoms import is_atoms_file, read_atoms_file
from etcli.io.mdoc import Mdoc
from etcli.io.outputs import Outputs
from etcli.io.writers import ProcessingStep, series_writer, volume_writer
from etcli.pipeline.session import Session

COUNTS = (0, 1, 6)
"""MRC modes of integers, which hold counted electrons."""
SPECIMENS: dict[str, Callable[[int, np.random.Generator], Specimen]] = {
    "phantom": lambda size, rng: shepp_logan(size),
    "particle": particle,
    "needle": needle,
}


class TrueValues(Protocol):
    """True parameters of a simulated series."""

    @property
    def electrons_per_unit(self) -> float | None:
        """Electrons per pixel for one unit of the signal; None without noise."""

    def as_dict(self) -> dict[str, Any]:
        """Return the parameters as plain numbers and lists."""


@dataclass(frozen=True)
class SeriesRequest:
    """Options of the acquisition of a simulated series, named as those of ``etcli simulate``.

    Parameters
    ----------
    angles : (float, float, float)
        First and last tilt angle, and the step.
    order : {"rising", "dose-symmetric"}
        Order in which views are taken.
    dose_e_A2 : float or None
        Electrons per Å² and view; None for no noise.
    level : float
        Background added to every pixel.
    drift, offset : Length
        Largest displacement of a view, and distance of the tilt axis from the centre.
    axis_deg : float
        Angle from +y to the tilt axis.
    tilt_error_deg : float
        Standard deviation of the angles.
    seed : int
        Seed of all random numbers.
    write_truth : sequence of str
        Files for the true values: ``.json`` for the errors, ``.mrc`` for the volume, or a file of atoms.
    mode : int
        MRC mode.
    """

    angles: tuple[float, float, float] = (-70.0, 70.0, 2.0)
    order: str = "rising"
    dose_e_A2: float | None = None
    level: float = 0.0
    drift: Length = Length(0.0, "px")
    offset: Length = Length(0.0, "px")
    axis_deg: float = 0.0
    tilt_error_deg: float = 0.0
    seed: int = 0
    write_truth: Sequence[str] = ()
    mode: int = 2

    def check(self) -> None:
        """Check the options; raise UsageError for contradictory ones."""
        self.check_truth((".mrc",), "the volume")
        self.check_mode("--dose", given=self.dose_e_A2 is not None)

    def check_truth(self, endings: tuple[str, ...], what: str) -> None:
        """Check the names of the files for the true values, of the errors or of what is named."""
        unknown = [name for name in self.write_truth if not name.lower().endswith((".json", *endings))]
        if unknown:
            raise UsageError(
                f"--write-truth {unknown[0]}: writes .json (the errors) or {', '.join(endings)} ({what})"
            )

    def check_mode(self, option: str, *, given: bool) -> None:
        """Check that integers are written only of counts, the number of which the option gives."""
        if self.mode in COUNTS and not given:
            raise UsageError(f"--mode {self.mode} writes counted electrons; give their number with {option}")

    @property
    def tilt_deg(self) -> NDArray[np.float64]:
        """Nominal tilt angles in the order of the views."""
        tilt_deg = tilt_range(*self.angles)
        return tilt_deg[dose_symmetric(tilt_deg)] if self.order == "dose-symmetric" else tilt_deg

    def errors(self, pixel_A: float) -> AcquisitionErrors:
        """Errors of the acquisition, in pixels of the given size."""
        return AcquisitionErrors(
            self.drift.px(pixel_A), self.axis_deg, self.offset.px(pixel_A), self.tilt_error_deg
        )

    def description(self, output: str, size: tuple[int, int], pixel_A: float) -> TiltSeries:
        """Return the metadata of the series as the operator knows them: nominal, without the errors."""
        series = self.described(ViewTable.tilted(self.tilt_deg), output, size, pixel_A)
        return replace(series, axis_deg=0.0, axis_source="given")

    def described(
        self,
        views: ViewTable,
        output: str,
        size: tuple[int, int],
        pixel_A: float,
        *,
        voltage_kV: float = 300.0,
    ) -> TiltSeries:
        """Return the metadata of a series with the given views, without a tilt axis."""
        n = len(views)
        mdoc = Mdoc.empty(n).with_value("Voltage", voltage_kV)
        if views.tilt_deg is not None:
            mdoc = mdoc.with_view_values("TiltAngle", list(views.tilt_deg))
        if self.dose_e_A2:
            mdoc = mdoc.with_view_values("ExposureDose", [self.dose_e_A2] * n)
            views = replace(views, dose_e_A2=np.full(n, self.dose_e_A2))
        return TiltSeries(
            np.broadcast_to(np.float32(0), (n, *size)),
            name=output,
            pixel_A=pixel_A,
            views=views,
            tilts_source="simulation",
            description=mdoc,
        )


def simulate_files(
    session: Session, kind: str, output: str, request: SeriesRequest, *, size: int, pixel: Length
) -> None:
    """Simulate the dark-field series of a specimen that consists of solids.

    Parameters
    ----------
    session : Session
    kind : str
        A name in `SPECIMENS`.
    output : str
    request : SeriesRequest
    size : int
        Pixels along each side.
    pixel : Length
        Pixel size.

    Raises
    ------
    UsageError
        When the request contradicts itself.
    """
    request.check()
    pixel_A, rng = pixel_size_A(pixel), np.random.default_rng(request.seed)
    step = ProcessingStep("simulate", f"{kind} {size}, seed {request.seed}")
    like = request.description(output, (size, size), pixel_A)

    def simulate(outputs: Outputs) -> tuple[NDArray[np.float32], GroundTruth]:
        specimen = SPECIMENS[kind](size, rng)
        for name in request.write_truth:
            if name.lower().endswith(".mrc"):
                _write_volume(outputs, name, specimen, size, pixel_A, step)
        errors = request.errors(pixel_A)
        series, truth = tilt_series(
            specimen,
            like.tilt_deg,
            shape=(size, size),
            rng=rng,
            dose_e_A2=request.dose_e_A2,
            pixel_A=pixel_A,
            drift_px=errors.drift_px,
            axis_deg=errors.axis_deg,
            axis_offset_px=errors.axis_offset_px,
            tilt_error_deg=errors.tilt_error_deg,
            background=request.level,
            threads=session.threads,
        )
        views: Any = series.data
        if any(name.lower().endswith(".json") for name in request.write_truth):
            truth = replace(truth, solids=true_solids(specimen, size, pixel_A=pixel_A))
        return views, truth

    write_simulation(session, like, request, step, simulate)


def pixel_size_A(pixel: Length) -> float:
    """Return the pixel size in Å; raise UsageError if it is given in pixels, or not positive."""
    if pixel.unit == "px":
        raise UsageError("--pixel is the length of a pixel; give it in Å or nm, as in 1nm")
    if not pixel.value > 0:
        raise UsageError(f"a pixel of {pixel.value} Å has no area; use a positive size")
    return pixel.value


def check_inside(session: Session, farthest_px: NDArray[np.float64], size: int, where: str) -> None:
    """Warn of what lies outside square views, and raise a UsageError if all does.

    Parameters
    ----------
    session : Session
    farthest_px : ndarray of shape (n,), float64
        Largest distance of each atom or column from the centre, along an axis of a view.
    size : int
        Pixels along each side.
    where : str
        What lies where, for the message.
    """
    outside = int((farthest_px >= size / 2).sum())
    if outside:
        # a point on the outer edge is in no pixel, so the next even size is taken
        needed = 2 * (int(np.floor(farthest_px.max())) + 1)
        text = f"{outside} of {len(farthest_px)} {where}; --size {needed} shows all of them"
        if outside == len(farthest_px):
            raise UsageError(text)
        session.reporter.warn(text)


def write_simulation(
    session: Session,
    like: TiltSeries,
    request: SeriesRequest,
    step: ProcessingStep,
    simulate: Callable[[Outputs], tuple[NDArray[np.float32], TrueValues]],
) -> None:
    """Simulate a series, and write it with the true values of its errors.

    Parameters
    ----------
    session : Session
    like : TiltSeries
        Metadata of the series; its name is that of the file to write.
    request : SeriesRequest
    step : ProcessingStep
        For the history of the file.
    simulate : callable
        ``simulate(outputs)`` returns the views and their true parameters; it writes the true specimen itself.
        It is called when the output files are known to be writable.
    """
    like = replace(like, history=specimen_history(session.inputs))
    with (
        session.outputs() as outputs,
        series_writer(outputs, like.name, like, step=step, mode=request.mode) as writer,
    ):
        reports = [outputs.path(name) for name in request.write_truth if name.lower().endswith(".json")]
        views, truth = simulate(outputs)
        unit = np.float32((truth.electrons_per_unit or 1) if request.mode in COUNTS else 1)
        for k, view in enumerate(views):
            writer.write_section(k, unit * view)
        for path in reports:
            path.write_text(f"{json.dumps(truth.as_dict(), indent=1)}\n", encoding="utf-8", newline="\n")


def specimen_history(inputs: Iterable[str]) -> tuple[str, ...]:
    """History of the atoms that a series is simulated of, from their files."""
    files = [read_atoms_file(Path(name)) for name in inputs if is_atoms_file(name)]
    return tuple(step for file in files for step in file.history)


def _write_volume(
    outputs: Outputs, name: str, specimen: Specimen, size: int, pixel_A: float, step: ProcessingStep
) -> None:
    """Write the specimen as a volume."""
    shape = (size, size, size)
    frame = VolumeFrame.central(shape, pixel_A)
    with volume_writer(outputs, name, shape, step=step, pixel_A=pixel_A, frame=frame) as writer:
        for z, section in enumerate(specimen.sections(shape)):
            writer.write_section(z, section)
