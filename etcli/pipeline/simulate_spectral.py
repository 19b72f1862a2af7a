"""Simulation of element maps or spectrum images with the dark-field series of the same specimen."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.arguments import check_choice
from etcli.core.errors import DataError, UsageError
from etcli.core.geometry import tilt_range
from etcli.core.lengths import Length
from etcli.core.registration.views_by_tilt import views_by_tilt
from etcli.core.series import TiltSeries
from etcli.core.simulate.elemental import ElementalSpecimen
from etcli.core.simulate.elemental_specimens import SPECIMENS
from etcli.core.simulate.spectral import (
    SpectralDose,
    SpectralSeries,
    SpectralTruth,
    VOLTAGE_kV,
    record_spectral,
)
from etcli.core.spectra.detector import EnergyAxis
from etcli.core.view_table import ViewTable
from etcli.core.volume_frame import VolumeFrame
from etcli.io.element_map import COUNTS as COUNTED
from etcli.io.element_map import ElementMap
from etcli.io.mdoc import Mdoc
from etcli.io.outputs import Outputs
from etcli.io.spectrum_writer import check_spectrum_suffix, write_spectra
from etcli.io.writers import ProcessingStep, expect_images, series_writer, volume_writer
from etcli.pipeline.map_names import map_file
from etcli.pipeline.session import Session
from etcli.pipeline.simulate import COUNTS, SeriesRequest, pixel_size_A

BYTES_PER_VALUE = 4
"""Memory for a channel of a pixel: two bytes in which it is drawn, and a copy to be written."""
MAP_EVERY = 3
"""By default X-rays are counted at every third view, counted from the least tilted one."""


@dataclass(frozen=True)
class SpectralRequest:
    """Options of the specimen and of the X-ray detector, named as those of ``etcli simulate spectral``.

    Parameters
    ----------
    specimen : str
        A name in `SPECIMENS`.
    map_angles : (float, float, float) or None
        First and last tilt angle of the maps, and the step.
    maps : sequence of str or None
        The elements whose maps are written, all by default.
    spectra : str or None
        File of spectrum images, which are written in place of maps.
    channels : int
        Channels of the X-ray detector.
    channel_eV : float
        Their width.
    margin : Length
        What the views show on each side beyond the volume.
    dose : SpectralDose
    """

    specimen: str
    map_angles: tuple[float, float, float] | None = None
    maps: Sequence[str] | None = None
    spectra: str | None = None
    channels: int = 256
    channel_eV: float = 40.0
    margin: Length = Length(0.0, "px")
    dose: SpectralDose = field(default_factory=SpectralDose)

    def check(self, series: SeriesRequest) -> None:
        """Check the options; raise UsageError for contradictory ones."""
        check_choice("specimen", self.specimen, SPECIMENS)
        self.dose.check()
        series.check_truth((".mrc",), "the densities")
        if series.mode in COUNTS and not self.dose.noise:
            raise UsageError(f"--mode {series.mode} writes counts; leave out --no-noise")
        if self.spectra and self.maps:
            raise UsageError("--spectra holds all elements; leave out --maps")
        if self.spectra:
            check_spectrum_suffix(self.spectra)

    @property
    def axis(self) -> EnergyAxis:
        """Channels of the X-ray detector, the first of which begins at 0."""
        step_keV = 1e-3 * self.channel_eV
        return EnergyAxis(step_keV / 2, step_keV, self.channels)

    def map_views(self, tilt_deg: NDArray[np.float64]) -> NDArray[np.intp]:
        """Return the views at which X-rays are counted, from 0; raise UsageError for tilts without one."""
        if self.map_angles is None:
            order = np.argsort(tilt_deg, kind="stable")
            middle = int(abs(tilt_deg[order]).argmin())
            return np.sort(order[middle % MAP_EVERY :: MAP_EVERY])
        try:
            return np.sort(views_by_tilt(tilt_range(*self.map_angles), tilt_deg))
        except DataError as error:
            raise UsageError(f"--maps-range: {error}; give tilts of --range") from None

    def written(self, specimen: ElementalSpecimen) -> tuple[str, ...]:
        """Return the elements whose maps are written; raise UsageError for one that is not there."""
        for element in self.maps or ():
            if element not in specimen.elements:
                there = ", ".join(specimen.elements)
                raise UsageError(f"--maps {element}: the specimen {self.specimen} has {there}")
        return tuple(self.maps or specimen.elements)


def simulate_spectral_files(
    session: Session,
    output: str,
    asked: SpectralRequest,
    request: SeriesRequest,
    *,
    size: int,
    pixel: Length,
) -> None:
    """Simulate a dark-field series, and element maps or spectrum images at some of its tilts.

    Parameters
    ----------
    session : Session
    output : str
        File of the dark-field series; maps are ``OUTPUT_Ni`` and so on, with its ending.
    asked : SpectralRequest
    request : SeriesRequest
    size : int
        Width of the volume in pixels.
    pixel : Length
        Pixel size.

    Raises
    ------
    UsageError
        When the request contradicts itself.
    """
    asked.check(request)
    pixel_A, tilt_deg = pixel_size_A(pixel), request.tilt_deg
    specimen, views = SPECIMENS[asked.specimen](size), asked.map_views(tilt_deg)
    margin_px = round(asked.margin.px(pixel_A))
    rows, columns = (n + 2 * margin_px for n in specimen.shape[1:])
    if asked.spectra:
        _check_memory(session, len(views) * rows * columns * asked.channels * BYTES_PER_VALUE)
    like = request.described(
        ViewTable.tilted(tilt_deg), output, (rows, columns), pixel_A, voltage_kV=VOLTAGE_kV
    )
    like = replace(like, axis_deg=0.0, axis_source="given")
    files = _Files(output, asked, request, specimen, size, margin_px)
    with session.outputs() as outputs:
        files.expect(outputs)
        found = record_spectral(
            specimen,
            tilt_deg,
            views,
            axis=asked.axis,
            dose=asked.dose,
            errors=request.errors(pixel_A),
            rng=np.random.default_rng(request.seed),
            margin_px=margin_px,
            spectra=asked.spectra is not None,
            threads=session.threads,
        )
        files.write_series(outputs, output, like, found.haadf)
        files.write_counts(outputs, like.select(views), found)
        files.write_truth(outputs, pixel_A, found.truth)


def _check_memory(session: Session, need: int) -> None:
    """Raise UsageError where spectrum images do not fit into the memory that may be used."""
    if need > session.memory:
        raise UsageError(
            f"--spectra: takes {-(-need >> 20)}M of memory, but only {session.memory >> 20}M are allowed; "
            "give a larger --memory, or fewer channels, pixels or tilts"
        )


@dataclass(frozen=True, eq=False)
class _Files:
    """Output files of a simulation."""

    output: str
    asked: SpectralRequest
    request: SeriesRequest
    specimen: ElementalSpecimen
    size: int
    margin_px: int

    @property
    def step(self) -> ProcessingStep:
        """The processing step of all of them."""
        return ProcessingStep(
            "simulate", f"spectral {self.asked.specimen} {self.size}, seed {self.request.seed}"
        )

    @property
    def maps(self) -> dict[str, str]:
        """Names of the maps by elements."""
        elements = () if self.asked.spectra else self.asked.written(self.specimen)
        return {element: map_file(self.output, element) for element in elements}

    @property
    def volumes(self) -> list[tuple[str, str]]:
        """Elements and names of the volumes of the true densities."""
        named = [name for name in self.request.write_truth if name.lower().endswith(".mrc")]
        return [(element, map_file(name, element)) for name in named for element in self.specimen.elements]

    @property
    def others(self) -> list[str]:
        """Names of the files that are no images: the true parameters, and the spectra."""
        named = [*self.request.write_truth, *([self.asked.spectra] if self.asked.spectra else [])]
        return [name for name in named if not name.lower().endswith(".mrc")]

    def expect(self, outputs: Outputs) -> None:
        """Check that all of them can be written; raise UsageError or DataError otherwise."""
        for name in (self.output, *self.maps.values(), *(name for _, name in self.volumes)):
            expect_images(outputs, name)
        for name in self.others:
            outputs.path(name)

    def write_series(self, outputs: Outputs, name: str, like: TiltSeries, images: NDArray[Any]) -> None:
        """Write images as a series."""
        with series_writer(outputs, name, like, step=self.step, mode=self.request.mode) as writer:
            for k, image in enumerate(images):
                writer.write_section(k, image)

    def write_counts(self, outputs: Outputs, like: TiltSeries, found: SpectralSeries) -> None:
        """Write the maps, or the spectrum images."""
        for element, name in self.maps.items():
            place = self.specimen.elements.index(element)
            values = COUNTED if self.asked.dose.noise else f"expected {COUNTED}"
            told = ElementMap(element, sensitivity=float(found.truth.sensitivity[place]), values=values)
            assert isinstance(like.description, Mdoc)
            series = replace(like, description=told.write(like.description))
            self.write_series(outputs, name, series, found.counts[place])
        if self.asked.spectra and like.pixel_A:
            write_spectra(
                outputs.part_of(self.asked.spectra),
                found.counts,
                name=self.asked.spectra,
                energy_keV=self.asked.axis.energy_keV,
                tilt_deg=like.tilt_deg,
                pixel_A=like.pixel_A,
                beam_kV=VOLTAGE_kV,
                elements=self.specimen.elements,
            )

    def write_truth(self, outputs: Outputs, pixel_A: float, truth: SpectralTruth) -> None:
        """Write the densities of the elements as volumes, and the true parameters."""
        nz, ny, nx = self.specimen.shape
        shape = nz, ny + 2 * self.margin_px, nx + 2 * self.margin_px
        for element, name in self.volumes:
            with volume_writer(
                outputs,
                name,
                shape,
                step=self.step,
                pixel_A=pixel_A,
                frame=VolumeFrame.central(shape, pixel_A),
                shows=ElementMap(element, values="density"),
            ) as writer:
                for z, section in enumerate(self.specimen.sections(element, margin_px=self.margin_px)):
                    writer.write_section(z, section)
        text = json.dumps({"specimen": self.asked.specimen} | truth.as_dict(), indent=1)
        for name in self.request.write_truth:
            if name.lower().endswith(".json"):
                outputs.part_of(name).write_text(f"{text}\n", encoding="utf-8", newline="\n")
