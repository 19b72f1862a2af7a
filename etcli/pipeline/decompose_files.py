"""Decomposition of spectrum images from file to file."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from etcli.core.errors import UsageError
from etcli.io.element_map import PARTS
from etcli.io.outputs import Outputs
from etcli.io.tables import write_table
from etcli.io.writers import ProcessingStep, expect_images, series_writer
from etcli.pipeline.decompose import decompose_series
from etcli.pipeline.decompose_request import DecomposeRequest
from etcli.pipeline.decomposition import Decomposition
from etcli.pipeline.map_names import map_file
from etcli.pipeline.picture_output import announce_picture, check_picture
from etcli.pipeline.session import Session
from etcli.pipeline.spectrum_inputs import open_series

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUM = "sum"
SPECTRA = "spectra"


@dataclass(frozen=True)
class DecomposeFiles:
    """Files of a decomposition, named as the arguments and options of ``etcli decompose``."""

    inputs: tuple[str, ...]
    output: str
    tilts: str | None = None
    energy_keV: tuple[float, float] | None = None
    plot: str | None = None


def decompose_files(files: DecomposeFiles, request: DecomposeRequest, session: Session) -> Decomposition:
    """Decompose spectrum images in files; write the maps, their parts, the sum and the spectra.

    Parameters
    ----------
    files : DecomposeFiles
    request : DecomposeRequest
    session : Session

    Returns
    -------
    Decomposition

    Raises
    ------
    DataError, UsageError
        As for `etcli.pipeline.decompose.decompose`; no output is written then.
    """
    check_picture(files.plot)
    if not files.inputs:
        raise UsageError("give spectrum images, and the name of the maps last, as in si.hspy maps.mrc")
    series = open_series(session, files.inputs, tilts=files.tilts, energy_keV=files.energy_keV)
    request.chosen_method(is_eels=series.is_eels, is_xray=series.is_xray)
    with session.outputs() as outputs:
        for name in (SUM, *(one.symbol for one in request.named)):
            expect_images(outputs, map_file(files.output, name))
        table = outputs.path(str(Path(map_file(files.output, SPECTRA)).with_suffix(".csv")))
        picture = announce_picture(outputs, files.plot) if files.plot else None
        result = decompose_series(session, series, request)
        _write_maps(outputs, files.output, result)
        write_table(table, result.table)
        if picture:
            picture(decomposition_picture(result))
    return result


def _write_maps(outputs: Outputs, output: str, result: Decomposition) -> None:
    """Write the maps, their parts and the sum, each a series with its mdoc."""
    step = ProcessingStep("decompose", _summary(result))
    wanted = [(SUM, "")]
    for name in result.names:
        wanted += [(name, part) for part in ("", *(PARTS if result.parts is not None else ()))]
    for name, part in wanted:
        target = map_file(output, f"{name}_{part}" if part else name)
        series = result.series(name, part=part)
        with series_writer(outputs, target, series, step=step) as writer:
            for k in range(len(series)):
                writer.write_section(k, series.view(k))


def decomposition_picture(result: Decomposition) -> "Figure":
    """Draw a result: the sum of all spectra with its parts, what is left over, and the maps near 0°.

    Parameters
    ----------
    result : Decomposition

    Returns
    -------
    matplotlib.figure.Figure
    """
    from etcli.plotting.decomposition import decomposition_figure

    view = int(abs(result.like.tilt_deg).argmin())
    of_elements = result.fit is not None or result.method == "power-law"
    shown = {one.name: one.name if of_elements else f"{one.name} {one.line}" for one in result.info}
    return decomposition_figure(
        result.energy_keV,
        result.sum_spectrum,
        {shown[one.name]: one.spectrum for one in result.info if one.there},
        result.others,
        maps={shown[one.name]: result.maps[k, view] for k, one in enumerate(result.info)},
        lines=_labels(result),
        tilt_deg=float(result.like.tilt_deg[view]),
        pixel_A=result.like.pixel_A,
        is_fit=result.method == "fit",
        curve=None if result.curve is None else (result.curve.n, result.curve.deviance),
    )


def _labels(result: Decomposition) -> list[tuple[str, float]]:
    """Return names and energies in keV of the main lines that a picture names."""
    if result.fit is None:
        return []
    fit = result.fit
    found = []
    for one, there in zip(fit.elements, fit.is_there, strict=True):
        if there:
            found += [(f"{one.element} {line.name}", line.energy_keV) for line in one.main_lines]
    return found


def _summary(result: Decomposition) -> str:
    """Describe the result for the history."""
    return f"{', '.join(result.names)} by {result.method}"
