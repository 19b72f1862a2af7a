"""Image stacks with their metadata: tilt series and volumes, which may be much larger than the memory."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etcli.core.errors import DataError
from etcli.core.view_table import ViewTable
from etcli.core.volume_axes import UPRIGHT, VolumeAxes
from etcli.core.volume_frame import VolumeFrame

Array = NDArray[np.float32]
SAME_VOXEL = 0.01
"""Largest relative difference of two sizes of voxels that are the same."""
DECIMALS = 3  # of a position in pixels, as headers have seven digits


class ImageData(Protocol):
    """Images (n, ny, nx) of any real type: an array, or a file that is read when it is indexed."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Numbers of images, rows and columns."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the pixels."""

    def __getitem__(self, index: Any, /) -> NDArray[Any]:
        """Read the indexed part of the images."""


class Description(Protocol):
    """Further metadata of a series, such as its mdoc: passed on with the views, but not interpreted here."""

    def select(self, views: Sequence[int] | NDArray[np.intp], /) -> Self:
        """Return the description of a subset of the views, counted from 0."""

    def with_axis(self, axis_deg: float, /) -> Self:
        """Return the description with another angle of the tilt axis."""


@dataclass(frozen=True, eq=False, repr=False)
class ImageStack:
    """Stack of images of one size, read on demand; row 0 is the bottom.

    Parameters
    ----------
    data : array of shape (n, ny, nx)
        Images in the data type in which they are stored, often a memory map.
    name : str
        Name of the stack in messages, usually the file name.
    pixel_A : float or None
        Pixel size in Å, None where unknown.
    origin_A : (float, float, float)
        Position (x, y, z) of the first pixel in the images that these were cropped from, in Å.
    history : tuple of str
        Processing steps, the oldest first.
    description : Description or None
        Further metadata, for the files that are written from the images.
    """

    data: ImageData
    _: KW_ONLY
    name: str = "images"
    pixel_A: float | None = None
    origin_A: tuple[float, float, float] = (0.0, 0.0, 0.0)
    history: tuple[str, ...] = ()
    description: Description | None = None

    def __post_init__(self) -> None:
        if len(self.data.shape) != 3:
            raise DataError(
                f"{self.name}: images need the shape (number, rows, columns), not {self.data.shape}"
            )

    @property
    def _order(self) -> NDArray[np.intp] | None:
        """Indices of the images of `data` that belong to the stack; None for all images in order."""
        return None

    @property
    def _noun(self) -> str:
        """Word for an image in messages."""
        return "section"

    def __repr__(self) -> str:
        size = " x ".join(map(str, self.shape[::-1]))
        pixel = f"{self.pixel_A:g} Å" if self.pixel_A else "unknown size"
        return f"<{type(self).__name__} {self.name}: {size}, pixels of {pixel}>"

    def __len__(self) -> int:
        return self.data.shape[0] if self._order is None else len(self._order)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Numbers of images, rows and columns."""
        return len(self), self.data.shape[1], self.data.shape[2]

    def view(self, k: int) -> Array:
        """Read image ``k`` as float32; raise DataError if it holds complex, infinite or NaN values.

        The message names the image by its number in the file.
        """
        index = k if self._order is None else self._order[k]
        return self._checked_float32(self.data[index], f"{self._noun} {index + 1}")

    def rows(self, chosen: NDArray[np.intp]) -> Array:
        """Read the chosen rows of every image, (n, rows, nx), as float32."""
        first, last = int(chosen[0]), int(chosen[-1])
        contiguous = last - first + 1 == len(chosen) and bool((np.diff(chosen) == 1).all())
        rows: Any = slice(first, last + 1) if contiguous else chosen
        views: Any = slice(None)
        if self._order is not None:
            views = self._order if contiguous else self._order[:, np.newaxis]
        return self._checked_float32(self.data[views, rows], f"rows {first + 1}-{last + 1}")

    def images(self) -> NDArray[Any]:
        """Return all images in the data type in which they are stored, as a memory map where possible."""
        data = self.data[...] if self._order is None else self.data[self._order]
        if data.dtype.kind == "c":
            self._checked_float32(data[:1], "")
        return data

    def _checked_float32(self, values: NDArray[Any], where: str) -> Array:
        if values.dtype.kind == "c":
            raise DataError(
                f"{self.name}: holds complex numbers (a Fourier transform); give the images themselves"
            )
        real = np.asarray(values, np.float32)
        if values.dtype.kind == "f" and not np.isfinite(real).all():
            raise DataError(
                f"{self.name}: NaN or infinite values in {where}; leave it out or correct it first"
            )
        return real


@dataclass(frozen=True, eq=False, repr=False)
class TiltSeries(ImageStack):
    """Views of one specimen.

    A series with one tilt and several defoci is a focal series (`ViewTable.is_focal_series`); one without
    tilt angles is a stack of images that still lack their description.

    Parameters
    ----------
    views : ViewTable
        Properties of each view: tilt angle, defocus, dose and so on.
    axis_deg : float or None
        Angle from +y to the tilt axis, counter-clockwise, in degrees; None where unknown.
    axis_source : str
        Source of `axis_deg`: ``title`` or ``RotationAngle`` of an mdoc, ``header``, ``given``, ``views``
        (found from what they show), the name of a microscope's log, or ``""``.
    tilts_source : str
        Source of the tilt angles.
    no_tilts : str
        Error message for a series without tilt angles: where they were not found, or why they were rejected.
    voltage_kv : float or None
        Acceleration voltage in kV.
    centre_A : (float, float) or None
        Rotation centre (x, y) in the coordinates of the file, in which the first pixel is at `origin_A`; None
        where it is the middle of the views. It is beside that in cropped views.
    background : float or None
        Intensity of the empty surroundings, which cropped views may no longer show; None where unknown.

    Raises
    ------
    DataError
        When a row of the table refers to an image that does not exist.

    Examples
    --------
    >>> import numpy as np
    >>> series = TiltSeries.of(np.zeros((3, 8, 8), np.float32), [-60, 0, 60], pixel_A=3.5)
    >>> series.shape, series.tilt_deg.tolist()
    ((3, 8, 8), [-60.0, 0.0, 60.0])
    """

    views: ViewTable
    axis_deg: float | None = None
    axis_source: str = ""
    tilts_source: str = ""
    no_tilts: str = ""
    voltage_kv: float | None = None
    centre_A: tuple[float, float] | None = None
    background: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        n, section = self.data.shape[0], self.views.section
        if len(section) and not 0 <= section.min() <= section.max() < n:
            raise DataError(f"{self.name}: {n} images, but a view of image {section.max() + 1}")

    @classmethod
    def of(cls, data: NDArray[Any], tilt_deg: ArrayLike, **known: Any) -> "TiltSeries":
        """Create a series from an array.

        Parameters
        ----------
        data : ndarray of shape (n_views, ny, nx)
            Views, row 0 at the bottom.
        tilt_deg : array_like of shape (n_views,)
            Tilt angles in degrees.
        **known
            Other fields, such as ``pixel_A`` and ``axis_deg``.

        Returns
        -------
        TiltSeries

        Raises
        ------
        DataError
            When there is not one angle per view.
        """
        views = ViewTable.tilted(tilt_deg)
        if len(views) != len(data):
            raise DataError(
                f"a tilt series needs one tilt angle per view, not {len(views)} angles for an array of shape "
                f"{data.shape}"
            )
        return cls(data, views=views, **known)

    @property
    def _order(self) -> NDArray[np.intp] | None:
        section = self.views.section
        as_stored = len(section) == self.data.shape[0] and bool((section == np.arange(len(section))).all())
        return None if as_stored else section  # None keeps `images` a memory map of the file

    @property
    def _noun(self) -> str:
        return "view" if self.has_tilts else "section"

    @property
    def has_tilts(self) -> bool:
        """Whether the tilt angles are known."""
        return self.views.tilt_deg is not None

    @property
    def tilt_deg(self) -> NDArray[np.float64]:
        """Tilt angles in degrees, one per view; a DataError where there are none."""
        if self.views.tilt_deg is None:
            raise DataError(self.no_tilts or f"{self.name}: no tilt angles; give them with --tilts FILE")
        return self.views.tilt_deg

    @property
    def centre_px(self) -> tuple[float, float]:
        """Position (x, y) of the rotation centre in pixels from the middle of the views."""
        if self.centre_A is None or not self.pixel_A:
            return 0.0, 0.0
        sides = zip(self.centre_A, self.origin_A, self.shape[:0:-1], strict=False)
        x, y = (round((at - first) / self.pixel_A - n / 2, DECIMALS) + 0.0 for at, first, n in sides)
        return x, y

    def select(self, views: Sequence[int] | NDArray[np.intp]) -> "TiltSeries":
        """Return the series of the given views, counted from 0, in that order, without reading them."""
        description = self.description.select(views) if self.description else None
        return replace(self, views=self.views.select(views), description=description)

    def with_tilts(self, tilt_deg: ArrayLike, source: str) -> "TiltSeries":
        """Return the series with other tilt angles."""
        return replace(self, views=self.views.with_tilts(tilt_deg), tilts_source=source)

    def with_orientations(self, euler_deg: ArrayLike, source: str) -> "TiltSeries":
        """Return the series with the orientations of its views, which give the tilt angles as well."""
        return replace(self, views=self.views.with_orientations(euler_deg), tilts_source=source)

    def with_axis(self, axis_deg: float) -> "TiltSeries":
        """Return the series with another angle from +y to its tilt axis."""
        description = self.description.with_axis(axis_deg) if self.description else None
        return replace(self, axis_deg=axis_deg, axis_source="given", description=description)


@dataclass(frozen=True, eq=False, repr=False)
class Volume(ImageStack):
    """Volume, sections (z, y, x): a reconstruction or a simulated specimen.

    Parameters
    ----------
    frame : VolumeFrame or None
        Position and orientation relative to the rotation centre, None where unknown.
    voxel_A : (float, float, float) or None
        Sides of a voxel along x, y and z in Å, where they may differ.
    """

    frame: VolumeFrame | None = None
    voxel_A: tuple[float, float, float] | None = None

    @property
    def valid_frame(self) -> VolumeFrame | None:
        """The frame; None also where the size of the voxels has been changed since it was written."""
        frame, pixel_A = self.frame, self.pixel_A
        if frame is None or not pixel_A or abs(pixel_A / frame.voxel_A - 1) > SAME_VOXEL:
            return None
        return frame

    @property
    def middle_A(self) -> tuple[float, float, float] | None:
        """Middle (x, y, z) relative to the rotation centre in Å; None where that is unknown."""
        frame = self.valid_frame
        if frame is None:
            return None
        x, y, z = (float(length) for length in frame.middle_A(self.shape, self.origin_A, self.pixel_A or 0.0))
        return x, y, z

    def upright(self) -> "Volume":
        """Return the volume along the axes of its reconstruction, with sections along z."""
        return self.turned(self.frame.axes.inverse()) if self.frame else self

    def sections(self, start: int, stop: int) -> Array:
        """Read sections as float32, an array of their own that is contiguous in memory."""
        block = np.ascontiguousarray(self.data[start:stop])
        return self._checked_float32(block, f"sections {start + 1}-{start + len(block)}")

    def turned(self, turn: VolumeAxes) -> "Volume":
        """Return the volume with its axes in another order or direction, without reading all of it.

        The content is turned about the rotation centre, or about the middle where that is unknown. The frame
        knows of the turn, so that `upright` undoes it.
        """
        if turn == UPRIGHT:
            return self
        sides_A = self.voxel_A if self.voxel_A and self.voxel_A[0] else (self.pixel_A or 0.0,) * 3
        origin_A = list(self.origin_A)
        for k, n in enumerate(self.shape[::-1]):
            if self.frame and turn.sign[turn.source.index(k)] < 0:
                origin_A[k] = 2 * self.frame.centre_A[k] - origin_A[k] - n * sides_A[k]
        turned_A = turn.ordered(sides_A)
        return replace(
            self,
            data=turn.apply(self.data[...]),
            pixel_A=turned_A[0] or None,
            origin_A=turn.ordered(origin_A),
            frame=self.frame.turned(turn) if self.frame else None,
            voxel_A=turned_A if self.voxel_A else None,
        )
