"""Depth sectioning from file to file."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from etcli.core.errors import UsageError
from etcli.core.registration.transforms import Transforms
from etcli.io.atoms import atoms_format, is_atoms_file, write_atoms
from etcli.io.outputs import Outputs
from etcli.io.tables import write_table
from etcli.io.writers import ProcessingStep, expect_images, series_writer, volume_writer
from etcli.pipeline.depth_input import read_given, read_zone_lattice
from etcli.pipeline.depth_libraries import read_library
from etcli.pipeline.depth_section import section_series
from etcli.pipeline.depth_section_request import DepthSectionRequest
from etcli.pipeline.depth_section_result import DepthSection
from etcli.pipeline.inputs import read_series
from etcli.pipeline.picture_output import announce_picture, check_picture
from etcli.pipeline.session import Session
from etcli.pipeline.text_output import check_text_names
from etcli.pipeline.transform_output import write_transforms
from etcli.pipeline.view_selection import checked_list

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class DepthSectionFiles:
    """Files of depth sectioning, named as the options of ``etcli depthsect``."""

    input: str
    output: str
    defocus: str | None = None
    views: tuple[int, ...] | None = None
    columns: str | None = None
    counts: str | None = None
    library: str | None = None
    csv: str | None = None
    write_xf: str | None = None
    write_aligned: str | None = None
    write_mean: str | None = None
    write_model: str | None = None
    plot: str | None = None

    def check(self, request: DepthSectionRequest) -> None:
        """Check the names of the files; raise UsageError for one that does not fit the last stage."""
        check_picture(self.plot)
        check_text_names(table=self.csv, transforms=self.write_xf)
        last, ending = request.stop_after, Path(self.output).suffix.lower()
        if last == "build" and not is_atoms_file(self.output):
            raise UsageError(f"{self.output}: the model is written as .xyz (or .cif, .pdb); name it so")
        if last in ("columns", "count", "depth") and ending != ".csv":
            raise UsageError(f"{self.output}: with --stop-after {last} the output is the table; name it .csv")
        if last == "align" and ending in (".csv", ".xyz", ".cif", ".pdb"):
            raise UsageError(
                f"{self.output}: with --stop-after align the output is the aligned series (.mrc)"
            )
        about_columns = (self.csv, self.plot, self.write_mean, self.write_model, self.columns, self.counts)
        if last == "align" and any(about_columns):
            raise UsageError("--stop-after align finds no columns; leave out the options that are about them")


def depth_section_files(
    files: DepthSectionFiles, request: DepthSectionRequest, session: Session
) -> DepthSection:
    """Find the columns, counts and depths of a series in a file, and write what is asked for.

    Parameters
    ----------
    files : DepthSectionFiles
    request : DepthSectionRequest
    session : Session

    Returns
    -------
    DepthSection

    Raises
    ------
    DataError, UsageError, ConvergenceError
        As for `etcli.pipeline.depth_section.depth_section`; no output is written then.
    """
    files.check(request)
    lattice = None
    if request.lattice is not None:
        if Path(request.lattice).exists():
            session.reads(request.lattice)
        lattice = read_zone_lattice(request.lattice, request.zone, request.element)
    given, library = read_given(files.columns, files.counts), None
    if files.library is not None:
        library = read_library(Path(files.library))
    for name in (files.columns, files.counts, files.library):
        if name is not None:
            session.reads(name)
    series = read_series(session, files.input, defocus=files.defocus)
    if files.views is not None:
        series = series.select(checked_list(files.views, len(series), "section"))
    voltage = getattr(series.description, "voltage_kv", None)
    if voltage and abs(voltage - request.optics.voltage_kV) > 1:
        session.reporter.warn(
            f"{series.name}: was taken at {voltage:g} kV, the library is for {request.optics.voltage_kV:g} "
            "kV; give --kv"
        )
    with session.outputs() as outputs:
        write = _Writer(outputs, files, request)
        result = section_series(session, series, request, lattice=lattice, library=library, given=given)
        write.all(result)
    return result


class _Writer:
    """Output files, reserved before the work and written after it."""

    def __init__(self, outputs: Outputs, files: DepthSectionFiles, request: DepthSectionRequest) -> None:
        self.outputs, self.files, self.last = outputs, files, request.stop_after
        self.aligned = [files.write_aligned] if files.write_aligned else []
        self.tables = [files.csv] if files.csv else []
        self.model = ""
        if self.last == "align":
            self.aligned.append(files.output)
        elif self.last == "build":
            self.model = files.output
        else:
            self.tables.append(files.output)
        for name in (*self.aligned, files.write_mean, files.write_model):
            if name:
                expect_images(outputs, name)
        self.table_paths = [outputs.path(name) for name in self.tables]
        self.xf_path = outputs.path(files.write_xf) if files.write_xf else None
        self.model_path = outputs.path(self.model) if self.model else None
        self.picture = announce_picture(outputs, files.plot) if files.plot else None

    def all(self, result: DepthSection) -> None:
        """Write everything."""
        step = ProcessingStep("depthsect", _summary(result))
        shift = -result.images.displacement_px
        for path in self.table_paths:
            write_table(path, result.table)
        if self.files.write_xf:
            xf, pixel_A = self.files.write_xf, result.images.pixel_A
            write_transforms(
                self.outputs, xf, Transforms.shifts(shift), step=step, pixel_A=pixel_A, path=self.xf_path
            )
        for name in self.aligned:
            self._write_aligned(name, result, step)
        if self.files.write_mean:
            self._write_image(self.files.write_mean, result.found.average, result, step)
        if self.files.write_model:
            image = result.found.fit.image(result.images.shape)
            self._write_image(self.files.write_model, image, result, step)
        if self.model_path:
            history = [*result.series.history, self.outputs.run.record(step)]
            write_atoms(self.model_path, result.atoms, form=atoms_format(self.model), history=history)
        if self.picture:
            self.picture(depth_picture(result))

    def _write_aligned(self, name: str, result: DepthSection, step: ProcessingStep) -> None:
        """Write the series without its drift, in its own units."""
        series = replace(result.series, pixel_A=result.images.pixel_A)
        with series_writer(self.outputs, name, series, step=step, mode=2) as writer:
            for k, (dx, dy) in enumerate(result.images.displacement_px):
                view = series.view(k)
                writer.write_section(k, ndimage.shift(view, (-dy, -dx), order=3, mode="nearest"))

    def _write_image(
        self, name: str, image: NDArray[np.float64], result: DepthSection, step: ProcessingStep
    ) -> None:
        ny, nx = image.shape
        with volume_writer(
            self.outputs, name, (1, ny, nx), step=step, like=result.series, pixel_A=result.images.pixel_A
        ) as writer:
            writer.write_section(0, image.astype(np.float32))


def depth_picture(result: DepthSection) -> "Figure":
    """Draw a result: `etcli.plotting.depth_section.depth_section_figure` of all that it holds.

    Parameters
    ----------
    result : DepthSection
        With columns.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from etcli.plotting.depth_section import depth_section_figure

    flagged = np.array([bool(flag) for flag in result.flags])
    return depth_section_figure(
        result.found,
        flagged=flagged,
        title=f"{Path(result.series.name).name}: {_summary(result)}, {int(flagged.sum())} flagged",
        shifts=result.shifts,
        column_bound_A=None if result.bounds is None else result.bounds.column_A,
        atoms=result.atoms if result.request.runs("build") else None,
    )


def _summary(result: DepthSection) -> str:
    """Describe the result for the history."""
    if result.sectioning is None:
        return f"aligned {len(result.images)} sections"
    count = result.found.count
    atoms = "" if count is None else f", {int(count.sum())} atoms"
    return f"{len(result.found.fit)} columns{atoms}"
