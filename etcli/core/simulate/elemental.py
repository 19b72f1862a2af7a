"""Specimens of several elements, as solids in which the density of each element is linear in position.

The mean of a linear function over a chord is its value in the middle of the chord, so no voxels are needed.
Densities are relative to a pure phase of the first element: 1 is the number of its atoms in a voxel.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etcli.core.geometry import centre
from etcli.core.simulate.imaging import ViewGeometry, rays_through
from etcli.core.simulate.solids import Solid, Specimen

Array = NDArray[np.float64]
Images = NDArray[np.float32]


class Linear(NamedTuple):
    """Density ``at_centre + gradient · (x, y, z)``, with the position in pixels from the rotation centre."""

    at_centre: float
    gradient: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @classmethod
    def along(cls, middle: ArrayLike, direction: ArrayLike, density: float, slope: float) -> "Linear":
        """Return the density that is given in the middle of a body, and rises along a direction.

        Parameters
        ----------
        middle : array_like of shape (3,)
            Position (x, y, z).
        direction : array_like of shape (3,)
            Unit vector.
        density : float
            Density in the middle.
        slope : float
            Its increase per pixel.
        """
        gradient = slope * np.asarray(direction, np.float64)
        x, y, z = gradient.tolist()
        return cls(density - float(gradient @ np.asarray(middle, np.float64)), (x, y, z))

    def at(self, x: Array, y: Array, z: Array) -> Array | float:
        """Return the density at points."""
        if not any(self.gradient):
            return self.at_centre
        gx, gy, gz = self.gradient
        return self.at_centre + gx * x + gy * y + gz * z


@dataclass(frozen=True, eq=False)
class Part:
    """Solid with what it adds to the density of elements; negative where it replaces another part.

    Parameters
    ----------
    body : Solid
        Of density 1.
    content : mapping of str to Linear
        By chemical symbols.
    """

    body: Solid
    content: Mapping[str, Linear]


@dataclass(frozen=True, eq=False)
class ElementalSpecimen:
    """Specimen of several elements.

    Parameters
    ----------
    elements : tuple of str
        Chemical symbols; the first one is the reference of densities and counts.
    parts : tuple of Part
        Their densities add up where they overlap.
    shape : (int, int, int)
        Voxels (nz, ny, nx) of a volume that holds it.
    """

    elements: tuple[str, ...]
    parts: tuple[Part, ...]
    shape: tuple[int, int, int]

    def project(self, geometry: ViewGeometry, shape: tuple[int, int], *, oversampling: int = 4) -> Images:
        """Project the density of every element exactly along rays, averaged over each pixel.

        Parameters
        ----------
        geometry : ViewGeometry
            Tilt, displacement and tilt axis of the view.
        shape : (int, int)
            Pixels (ny, nx) of the view.
        oversampling : int
            Rays per pixel in each direction.

        Returns
        -------
        ndarray of shape (n_elements, ny, nx), float32
            Line integrals in density · pixels.
        """
        images = np.zeros((len(self.elements), *shape))
        for part in self.parts:
            for rays in rays_through(part.body, geometry, shape, oversampling=oversampling):
                length, middle = rays.length, 0.5 * (rays.first + rays.last)
                x = rays.p * geometry.cos - middle * geometry.sin
                z = rays.p * geometry.sin + middle * geometry.cos
                for element, density in part.content.items():
                    line = length * density.at(x, rays.y, z)
                    images[self.elements.index(element)][rays.pixels] += rays.pixel_means(line)
        return images.astype(np.float32)

    def sections(self, element: str, *, margin_px: int = 0) -> Iterator[Images]:
        """Rasterise the density of an element section by section; each voxel is the mean in its cube.

        Where a surface cuts a voxel, the density in the middle of the voxel is taken for that in its part.

        Parameters
        ----------
        element : str
        margin_px : int
            Voxels on each side along y and x beyond `shape`, as views have them.

        Yields
        ------
        ndarray of shape (ny + 2 margin, nx + 2 margin), float32
            Sections from the lowest z to the highest.
        """
        shape = nz, ny, nx = self.shape[0], self.shape[1] + 2 * margin_px, self.shape[2] + 2 * margin_px
        x = np.asarray(np.arange(nx) - centre(nx), np.float64)
        y = np.asarray(np.arange(ny)[:, None] - centre(ny), np.float64)
        parts = [part for part in self.parts if element in part.content]
        covered = [Specimen((part.body,)).sections(shape) for part in parts]
        for k in range(nz):
            section, z = np.zeros((ny, nx)), np.full((1, 1), k - centre(nz))
            for part, coverage in zip(parts, covered, strict=True):
                section += next(coverage) * part.content[element].at(x, y, z)
            yield (section.round(7) + 0.0).astype(np.float32)

    def volume(self, element: str) -> Images:
        """Return the density of an element in all voxels, (nz, ny, nx)."""
        return np.stack(list(self.sections(element)))
