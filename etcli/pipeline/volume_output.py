"""Where a reconstruction goes: to files or into memory, slab by slab, in the order of axes asked for."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from etcli.core.geometry import SliceGeometry
from etcli.core.reconstruction.streamed_backprojection import BandWriter
from etcli.core.series import TiltSeries, Volume
from etcli.core.volume_frame import Placement, VolumeFrame
from etcli.io.image_file import open_images
from etcli.io.outputs import Outputs
from etcli.io.writers import ProcessingStep, volume_writer
from etcli.pipeline.inputs import load_images
from etcli.pipeline.session import Session

Array = NDArray[np.float32]
WHOLE, ODD, EVEN = "", "odd", "even"
"""The volumes of a reconstruction: of all views, and of every second one."""


@dataclass(frozen=True, eq=False)
class VolumeLayout:
    """What is said of a volume before it is made.

    Parameters
    ----------
    series : TiltSeries
        What it is made of.
    geometry : SliceGeometry
        The slices.
    rows : (int, int)
        First row of the views, counted from 0, and how many.
    x_tilt_deg : float
        What the volume is turned by about x.
    orient : {"zyx", "imod"}
        Sections along z, or along y with z downwards.
    """

    series: TiltSeries
    geometry: SliceGeometry
    rows: tuple[int, int]
    x_tilt_deg: float = 0.0
    orient: str = "zyx"

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
        """Where it lies."""
        return Placement.of(
            self.geometry,
            n_rows=self.series.shape[1],
            first_row=self.rows[0],
            origin_A=self.series.origin_A,
            pixel_A=self.series.pixel_A,
        )

    def frame(self, n_views: int) -> VolumeFrame | None:
        """Frame of the volume as it is written, made of so many views; None without a pixel size."""
        pixel_A = self.series.pixel_A
        if not pixel_A:
            return None
        x, y, z = self.placement.centre_A
        centre = (x, y, z) if self.upright else (x, z, y)
        return VolumeFrame(centre, pixel_A, self.x_tilt_deg, along_y=not self.upright, n_views=n_views)

    @property
    def origin_A(self) -> tuple[float, float, float]:
        """Place of the first voxel of the volume as it is written."""
        (x, y, z), (_, _, centre) = self.placement.corner_A, self.placement.centre_A
        # counted downwards from where the last section ends
        top = 2 * centre - (z + self.geometry.thickness * (self.series.pixel_A or 0.0))
        return (x, y, z) if self.upright else (x, top, y)


class Destination(Protocol):
    """Where the volumes of a reconstruction go."""

    def open(self, which: str, step: ProcessingStep, n_views: int) -> AbstractContextManager[BandWriter]:
        """Begin one of them; what the context gives takes its slices, sections along z, from a row on."""

    def read(self, which: str) -> Array:
        """Return one that is finished as an array of its own, sections along z."""


@dataclass(frozen=True, eq=False)
class VolumeFiles:
    """Volumes in files.

    Parameters
    ----------
    session : Session
    outputs : Outputs
        Where the files are announced.
    target : str
        The file of the volume of all views.
    layout : VolumeLayout
    mode : int
        MRC mode.
    copies : int
        Arrays of the size of a volume for which there must be room to read it again.
    """

    session: Session
    outputs: Outputs
    target: str
    layout: VolumeLayout
    mode: int = 2
    copies: int = 1

    @contextmanager
    def open(self, which: str, step: ProcessingStep, n_views: int) -> Iterator[BandWriter]:
        """Begin a file."""
        nz, ny, nx = self.layout.shape
        with volume_writer(
            self.outputs,
            name_of(self.target, which),
            (nz, ny, nx) if self.layout.upright else (ny, nz, nx),
            step=step,
            like=self.layout.series,
            pixel_A=self.layout.series.pixel_A,
            frame=self.layout.frame(n_views),
            origin_A=self.layout.origin_A,
            mode=self.mode,
        ) as writer:

            def write_turned(y0: int, block: Array, *, z0: int = 0) -> None:
                writer.write_rows(nz - z0 - len(block), block.swapaxes(0, 1)[:, ::-1], z0=y0)

            yield writer.write_rows if self.layout.upright else write_turned

    def read(self, which: str) -> Array:
        """Read a file that is complete but not yet in its place."""
        path = self.outputs.part_of(name_of(self.target, which))
        volume = load_images(self.session, open_images(str(path)).volume(), copies=self.copies)
        return volume if self.layout.upright else volume.swapaxes(0, 1)[::-1]


@dataclass(frozen=True, eq=False)
class VolumesInMemory:
    """Volumes in memory.

    Parameters
    ----------
    layout : VolumeLayout
        With sections along z.
    volumes : dict of str to Volume
        Those that are begun.
    """

    layout: VolumeLayout
    volumes: dict[str, Volume] = field(default_factory=dict)

    @contextmanager
    def open(self, which: str, step: ProcessingStep, n_views: int) -> Iterator[BandWriter]:
        """Begin an array."""
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
            description=series.description,
            frame=self.layout.frame(n_views),
        )

    def read(self, which: str) -> Array:
        """Return a copy of an array."""
        return np.array(self.volumes[which].images(), np.float32)


@dataclass(frozen=True, eq=False)
class WatchedDestination:
    """A destination whose first volume is looked at on its way.

    Parameters
    ----------
    destination : Destination
    also : callable
        ``also(write)`` returns what writes and looks.
    """

    destination: Destination
    also: Callable[[BandWriter], BandWriter]

    @contextmanager
    def open(self, which: str, step: ProcessingStep, n_views: int) -> Iterator[BandWriter]:
        """Begin one of the volumes."""
        with self.destination.open(which, step, n_views) as write:
            yield write if which else self.also(write)

    def read(self, which: str) -> Array:
        """Return one that is finished."""
        return self.destination.read(which)


def name_of(target: str, which: str) -> str:
    """Name of a volume's file beside that of all views: ``STEM_odd.mrc``."""
    path = PurePath(target)
    return str(path.with_name(f"{path.stem}_{which}{path.suffix}")) if which else target
