"""Output of a reconstruction to files or into memory, slab by slab, in the requested order of axes."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from etcli.core.geometry import SliceGeometry
from etcli.core.quality import missing_wedge
from etcli.core.reconstruction.streamed_backprojection import BandWriter
from etcli.core.series import TiltSeries, Volume
from etcli.core.volume_axes import IMOD_TILT, UPRIGHT
from etcli.core.volume_frame import Placement, VolumeFrame
from etcli.io.element_map import ElementMap, described
from etcli.io.image_file import open_images
from etcli.io.outputs import Outputs
from etcli.io.writers import ProcessingStep, volume_writer
from etcli.pipeline.inputs import load_images
from etcli.pipeline.session import Session

Array = NDArray[np.float32]
WHOLE, ODD, EVEN = "", "odd", "even"
"""The volumes of a reconstruction: from all views, and from every second one."""


@dataclass(frozen=True, eq=False)
class VolumeLayout:
    """Shape, position and orientation of a volume to be reconstructed.

    Parameters
    ----------
    series : TiltSeries
        The views.
    geometry : SliceGeometry
        Geometry of the slices.
    rows : (int, int)
        First row of the views, counted from 0, and number of rows.
    x_tilt_deg : float
        Angle by which the volume is rotated about x.
    orient : {"zyx", "imod"}
        Sections along z, or along y with z downwards.
    voltage_kv : float or None
        Accelerating voltage that the values depend on.
    shows : ElementMap
        Of which element the values are, and what they are, where that is known.
    """

    series: TiltSeries
    geometry: SliceGeometry
    rows: tuple[int, int]
    x_tilt_deg: float = 0.0
    orient: str = "zyx"
    voltage_kv: float | None = None
    shows: ElementMap = field(default_factory=ElementMap)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Sections along z, rows along y, columns along x."""
        return self.geometry.thickness, self.rows[1], self.geometry.width

    @property
    def upright(self) -> bool:
        """Whether its sections are along z."""
        return self.orient == "zyx"

    @property
    def placement(self) -> Placement:
        """Position relative to the views."""
        return Placement.of(
            self.geometry,
            n_rows=self.series.shape[1],
            first_row=self.rows[0],
            origin_A=self.series.origin_A,
            pixel_A=self.series.pixel_A,
            centre_y_px=self.series.centre_px[1],
        )

    @property
    def wedge_deg(self) -> tuple[float, float] | None:
        """Missing wedge of all views; None unless they are tilted about the vertical axis only."""
        series = self.series
        return None if series.views.rotations(self.x_tilt_deg) is not None else missing_wedge(series.tilt_deg)

    def frame(self, n_views: int, which: str = "") -> VolumeFrame | None:
        """Frame of a volume as it is written, for a number of views; None without a pixel size."""
        pixel_A = self.series.pixel_A
        if not pixel_A:
            return None
        x, y, z = self.placement.centre_A
        centre = (x, y, z) if self.upright else (x, z, y)
        axes, wedge_deg = UPRIGHT if self.upright else IMOD_TILT, self.wedge_deg if which else None
        return VolumeFrame(centre, pixel_A, self.x_tilt_deg, axes, n_views, which, wedge_deg)

    @property
    def origin_A(self) -> tuple[float, float, float]:
        """Position of the first voxel of the volume as it is written."""
        (x, y, z), (_, _, centre) = self.placement.corner_A, self.placement.centre_A
        # counted downwards from the end of the last section
        top = 2 * centre - (z + self.geometry.thickness * (self.series.pixel_A or 0.0))
        return (x, y, z) if self.upright else (x, top, y)


class Destination(Protocol):
    """Interface of the receivers of the volumes of a reconstruction."""

    def open(self, which: str, step: ProcessingStep, n_views: int) -> AbstractContextManager[BandWriter]:
        """Open one of the volumes; the context yields a function that writes blocks, sections along z."""

    def read(self, which: str) -> Array:
        """Return a finished volume as a separate array, sections along z."""


@dataclass(frozen=True, eq=False)
class VolumeFiles:
    """Destination that writes the volumes to files.

    Parameters
    ----------
    session : Session
    outputs : Outputs
        Output files of the command.
    target : str
        The file of the volume from all views.
    layout : VolumeLayout
    mode : int
        MRC mode.
    copies : int
        Number of arrays of the size of a volume that must fit into the memory to read it again.
    """

    session: Session
    outputs: Outputs
    target: str
    layout: VolumeLayout
    mode: int = 2
    copies: int = 1

    @contextmanager
    def open(self, which: str, step: ProcessingStep, n_views: int) -> Iterator[BandWriter]:
        """Open the file of a volume."""
        nz, ny, nx = self.layout.shape
        with volume_writer(
            self.outputs,
            volume_file_name(self.target, which),
            (nz, ny, nx) if self.layout.upright else (ny, nz, nx),
            step=step,
            like=self.layout.series,
            pixel_A=self.layout.series.pixel_A,
            frame=self.layout.frame(n_views, which),
            origin_A=self.layout.origin_A,
            mode=self.mode,
            voltage_kv=self.layout.voltage_kv,
            shows=self.layout.shows,
        ) as writer:

            def write_along_y(y0: int, block: Array, *, z0: int = 0) -> None:
                writer.write_rows(nz - z0 - len(block), block.swapaxes(0, 1)[:, ::-1], z0=y0)

            yield writer.write_rows if self.layout.upright else write_along_y

    def read(self, which: str) -> Array:
        """Read a file that is complete but still has its temporary name."""
        volume = load_images(self.session, self._part(which), copies=self.copies)
        return volume if self.layout.upright else volume.swapaxes(0, 1)[::-1]

    def finished(self) -> Volume:
        """Open the complete file of the volume from all views, with its sections along z."""
        layout, pixel_A = self.layout, self.layout.series.pixel_A
        # what stands beside a TIFF is not written yet
        volume = replace(
            self._part(WHOLE),
            pixel_A=pixel_A,
            origin_A=layout.origin_A,
            frame=layout.frame(len(layout.series)),
        )
        return volume if layout.upright else volume.turned(IMOD_TILT.inverse())

    def _part(self, which: str) -> Volume:
        return open_images(str(self.outputs.part_of(volume_file_name(self.target, which)))).volume()


@dataclass(frozen=True, eq=False)
class VolumesInMemory:
    """Destination that keeps the volumes in memory.

    Parameters
    ----------
    layout : VolumeLayout
        With sections along z.
    volumes : dict of str to Volume
        The finished volumes.
    """

    layout: VolumeLayout
    volumes: dict[str, Volume] = field(default_factory=dict)

    @contextmanager
    def open(self, which: str, step: ProcessingStep, n_views: int) -> Iterator[BandWriter]:
        """Create the array of a volume."""
        data = np.zeros(self.layout.shape, np.float32)
        series = self.layout.series

        def write(y0: int, block: Any, *, z0: int = 0) -> None:
            data[z0 : z0 + block.shape[0], y0 : y0 + block.shape[1]] = block

        yield write
        self.volumes[which] = Volume(
            data,
            name="volume" + f" of {which} views" * bool(which),
            pixel_A=series.pixel_A,
            origin_A=self.layout.origin_A,
            history=(*series.history, str(step)),
            description=described(series.description, self.layout.shows),
            frame=self.layout.frame(n_views, which),
        )

    def read(self, which: str) -> Array:
        """Return a copy of the array of a volume."""
        return np.array(self.volumes[which].images(), np.float32)


def volume_file_name(target: str, which: str) -> str:
    """File name of one of the volumes, such as ``STEM_odd.mrc``."""
    path = PurePath(target)
    return str(path.with_name(f"{path.stem}_{which}{path.suffix}")) if which else target
