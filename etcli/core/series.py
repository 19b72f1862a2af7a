"""Images with what is known of them: tilt series and volumes, which may be much larger than the memory."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etcli.core.errors import DataError
from etcli.core.view_table import ViewTable
from etcli.core.volume_frame import VolumeFrame

Array = NDArray[np.float32]


class ImageData(Protocol):
    """Images (n, ny, nx) of any real type, an array or a file that is read where it is indexed."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Numbers of images, rows and columns."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the numbers."""

    def __getitem__(self, index: Any, /) -> NDArray[Any]:
        """Read some of them."""


class Description(Protocol):
    """What is said of a series beside the table of its views; it travels with them and is not looked into."""

    def select(self, views: Sequence[int] | NDArray[np.intp], /) -> Self:
        """Return the description of some views, counted from 0."""

    def with_axis(self, axis_deg: float, /) -> Self:
        """Return it with another angle of the tilt axis."""


@dataclass(frozen=True, eq=False)
class ImageStack:
    """Images of one size, read when they are asked for; row 0 is the bottom.

    Parameters
    ----------
    data : array of shape (n, ny, nx)
        Images in the type stored, often a memory map.
    name : str
        What to call it in messages: the file, as a rule.
    pixel_A : float or None
        Pixel size in Å, None where nobody says.
    origin_A : (float, float, float)
        Place (x, y, z) of the first pixel in what it was cropped from, in Å.
    history : tuple of str
        What was done, a step each, the oldest first.
    description : Description or None
        What else is said of the images, for the files that are made of them.
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
        """The images of `data` that belong to the stack, all where it is None."""
        return None

    @property
    def _noun(self) -> str:
        """What one of the images is."""
        return "section"

    def __len__(self) -> int:
        return self.data.shape[0] if self._order is None else len(self._order)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Numbers of images, rows and columns."""
        return len(self), self.data.shape[1], self.data.shape[2]

    def view(self, k: int) -> Array:
        """Read image ``k`` as float32; a DataError where it holds values that cannot be worked with."""
        at = k if self._order is None else self._order[k]
        return self._checked(self.data[at], f"{self._noun} {k + 1}")

    def rows(self, chosen: NDArray[np.intp]) -> Array:
        """Read the chosen rows of every image, (n, rows, nx), as float32."""
        first, last = int(chosen[0]), int(chosen[-1])
        following = last - first + 1 == len(chosen) and bool((np.diff(chosen) == 1).all())
        rows: Any = slice(first, last + 1) if following else chosen
        views: Any = slice(None)
        if self._order is not None:
            views = self._order if following else self._order[:, np.newaxis]
        return self._checked(self.data[views, rows], f"rows {first + 1}-{last + 1}")

    def images(self) -> NDArray[Any]:
        """All images as they are stored, as a memory map where that can be."""
        data = self.data[...] if self._order is None else self.data[self._order]
        if data.dtype.kind == "c":
            self._checked(data[:1], "")
        return data

    def _checked(self, values: NDArray[Any], where: str) -> Array:
        if values.dtype.kind == "c":
            raise DataError(
                f"{self.name}: holds complex numbers (a Fourier transform); give the images themselves"
            )
        real = np.asarray(values, np.float32)
        if values.dtype.kind == "f" and not np.isfinite(real).all():
            raise DataError(f"{self.name}: NaN or infinite values in {where}; leave it out or mend it before")
        return real


@dataclass(frozen=True, eq=False)
class TiltSeries(ImageStack):
    """Views of one specimen.

    A series with one tilt and several defoci is a focal series (`ViewTable.is_focal_series`); one with no
    tilt angles is a stack of images that nobody has described yet.

    Parameters
    ----------
    views : ViewTable
        What is known of each view.
    axis_deg : float or None
        Angle from +y to the tilt axis, counter-clockwise, in degrees; None where nobody says.
    axis_source : str
        Who says so: ``title`` or ``RotationAngle`` of an mdoc, ``header``, or ``""``.
    tilts_source : str
        Where the tilt angles come from.
    no_tilts : str
        Where they were looked for in vain, or why they were not taken.
    voltage_kv : float or None
        Acceleration voltage in kV.

    Raises
    ------
    DataError
        When there is not a row of the table for every view.

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

    def __post_init__(self) -> None:
        super().__post_init__()
        n, section = self.data.shape[0], self.views.section
        if len(section) and not 0 <= section.min() <= section.max() < n:
            raise DataError(f"{self.name}: {n} images, but a view of image {section.max() + 1}")

    @classmethod
    def of(cls, data: NDArray[Any], tilt_deg: ArrayLike, **known: Any) -> "TiltSeries":
        """Make a series of an array.

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
            When there is not one angle a view.
        """
        views = ViewTable.tilted(tilt_deg)
        if len(views) != len(data):
            raise DataError(
                f"a tilt series needs one tilt angle a view, not {len(views)} angles for an array of shape "
                f"{data.shape}"
            )
        return cls(data, views=views, **known)

    @property
    def _order(self) -> NDArray[np.intp] | None:
        section = self.views.section
        as_stored = len(section) == self.data.shape[0] and bool((section == np.arange(len(section))).all())
        return None if as_stored else section  # a file that is read as it is stays a memory map

    @property
    def _noun(self) -> str:
        return "view" if self.has_tilts else "section"

    @property
    def has_tilts(self) -> bool:
        """Whether the tilt angles are known."""
        return self.views.tilt_deg is not None

    @property
    def tilt_deg(self) -> NDArray[np.float64]:
        """Tilt angles in degrees, one a view; a DataError where there are none."""
        if self.views.tilt_deg is None:
            raise DataError(self.no_tilts or f"{self.name}: no tilt angles; give them with --tilts FILE")
        return self.views.tilt_deg

    def select(self, views: Sequence[int] | NDArray[np.intp]) -> "TiltSeries":
        """Series of some views, counted from 0, in the order given, without reading them."""
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


@dataclass(frozen=True, eq=False)
class Volume(ImageStack):
    """A reconstruction or a specimen, sections (z, y, x).

    Parameters
    ----------
    frame : VolumeFrame or None
        Where it lies to the rotation centre, None where nobody knows.
    voxel_A : (float, float, float) or None
        Sides of a voxel along x, y and z, where they may differ.
    """

    frame: VolumeFrame | None = None
    voxel_A: tuple[float, float, float] | None = None

    def upright(self) -> "Volume":
        """Volume with sections along z, turned where it has them along y as IMOD's tilt writes them."""
        if self.frame is None or not self.frame.along_y:
            return self
        turned = self.data[...].swapaxes(0, 1)[::-1]
        x, top, y = self.origin_A
        frame = self.frame.upright()
        z = 2 * frame.centre_A[2] - top - turned.shape[0] * (self.pixel_A or 0.0)
        return replace(self, data=turned, frame=frame, origin_A=(x, y, z))
