"""Electrostatic potential of atoms: projected slice by slice for waves, and averaged over voxels.

All sums over atoms are done in Fourier space, at the exact positions. The phase factors of an atom are a
product of one factor for each axis, so that the sum over atoms is a product of two matrices.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft2

from etcli.core.atomic_model import Atoms
from etcli.core.errors import UsageError
from etcli.core.geometry import centre
from etcli.core.multislice.constants import POTENTIAL_V_A2
from etcli.core.multislice.optics import WaveGrid
from etcli.core.multislice.scattering_factors import scattering_factor

Doubles = NDArray[np.float64]
Floats = NDArray[np.float32]
DebyeWaller = float | Mapping[str, float]

VALUES_AT_ONCE = 1 << 22
"""Phase factors in memory at the same time."""
LARGEST_FREQUENCY_PER_A = 2.4
"""Spatial frequency in 1/Å up to which potentials are averaged over voxels."""
BOX_A = 8.0
"""Side of the cube in Å, centred at an atom, that holds its potential in a volume."""


@dataclass(frozen=True, eq=False)
class ProjectedPotential:
    """Projected potentials of atoms on a grid that repeats itself periodically.

    Parameters
    ----------
    grid : WaveGrid
    spectra : mapping of str to ndarray of shape (2 m + 1, n + 1), float32
        Fourier transform of the projected potential of each element in V Å³, over the area of a pixel, at the
        frequencies -m … m along y and 0 … n along x, in units of 1 over the width of the grid.
    """

    grid: WaveGrid
    spectra: Mapping[str, Floats]

    @classmethod
    def of(
        cls,
        species: NDArray[np.str_],
        grid: WaveGrid,
        *,
        limit_per_A: float,
        debye_waller_A2: DebyeWaller = 0.0,
    ) -> "ProjectedPotential":
        """Compute the spectra of the elements.

        Parameters
        ----------
        species : ndarray of shape (n_atoms,), str
            Chemical symbols, repeated or not.
        grid : WaveGrid
        limit_per_A : float
            Highest spatial frequency of the potential in 1/Å, no more than the grid has.
        debye_waller_A2 : float or mapping of str to float
            Debye-Waller factor B = 8π² times the mean squared displacement along one axis, in Å²: one for all
            elements, or one for each.

        Returns
        -------
        ProjectedPotential

        Raises
        ------
        UsageError
            If an element is unknown or has no Debye-Waller factor.
        """
        highest_per_A = limit_per_A * (1 + 1e-9)  # a frequency at the limit is inside, whatever is rounded
        # half a step below the Nyquist frequency, where a frequency and its negative are one
        counts = [min(int(highest_per_A * n * grid.pixel_A), (n - 1) // 2) for n in grid.shape]
        qy, qx = (np.arange(-m, m + 1) / (n * grid.pixel_A) for m, n in zip(counts, grid.shape, strict=True))
        squared = qy[:, np.newaxis] ** 2 + qx[counts[1] :] ** 2
        inside = squared <= highest_per_A**2
        return cls(
            grid,
            {
                element: np.where(
                    inside, _form_factor(element, squared, debye_waller_A2) / grid.pixel_A**2, 0
                ).astype(np.float32)
                for element in np.unique(species).tolist()
            },
        )

    def image(self, place_A: Doubles, species: NDArray[np.str_]) -> Floats:
        """Add up the projected potentials of atoms.

        Parameters
        ----------
        place_A : ndarray of shape (n_atoms, 2), float64
            x and y in Å from the centre of the grid.
        species : ndarray of shape (n_atoms,), str

        Returns
        -------
        ndarray of shape ``grid.shape``, float32
            In V Å.
        """
        ny, nx = self.grid.shape
        spectrum = np.zeros((ny, nx // 2 + 1), np.complex64)
        for element, form in self.spectra.items():
            chosen = place_A[species == element]
            if not len(chosen):
                continue
            # positions in periods of the grid, from its first pixel
            x, y = ((chosen[:, k] / self.grid.pixel_A + centre(n)) / n for k, n in ((0, nx), (1, ny)))
            sums = form * _structure_factor(y, x, form.shape)
            m = form.shape[0] // 2
            spectrum[: m + 1, : form.shape[1]] += sums[m:]
            spectrum[ny - m :, : form.shape[1]] += sums[:m]
        return np.asarray(irfft2(spectrum, (ny, nx), overwrite_x=True))

    def slices(self, atoms: Atoms, spacing_A: float) -> tuple[float, Iterator[Floats]]:
        """Cut the specimen into slices, from the first to the last one that has atoms.

        The centre planes of the slices are at whole multiples of the spacing. Each atom is as a whole in the
        slice whose centre plane is nearest.

        Parameters
        ----------
        atoms : Atoms
            x and y from the centre of the grid; z along the beam.
        spacing_A : float
            Distance of neighbouring centre planes in Å.

        Returns
        -------
        last_plane_A : float
            z of the centre plane of the last slice.
        slices : iterator of ndarray of shape ``grid.shape``, float32
            Projected potentials in V Å, in the order in which the beam passes them.
        """
        plane = np.rint(atoms.position_A[:, 2] / spacing_A).astype(np.intp)
        order = np.argsort(plane, kind="stable")
        numbers = np.arange(plane.min(), plane.max() + 2)
        edges = np.searchsorted(plane[order], numbers)
        place_A = atoms.position_A[:, :2]
        members = (order[start:stop] for start, stop in pairwise(edges))
        images = (self.image(place_A[chosen], atoms.species[chosen]) for chosen in members)
        return float(plane.max() * spacing_A), images


def mean_potential(
    atoms: Atoms, shape: tuple[int, int, int], voxel_A: float, *, debye_waller_A2: DebyeWaller = 0.0
) -> Floats:
    """Compute the mean electrostatic potential of atoms in each voxel of a volume.

    The potential of an atom has spatial frequencies up to 2.4 1/Å along each axis, and repeats itself outside
    a cube of 8 Å, where it is left out: so the sum over the volume is exact.

    Parameters
    ----------
    atoms : Atoms
        Positions from the centre of the volume; parts of atoms outside the volume are left out.
    shape : (int, int, int)
        Numbers of voxels along z, y and x.
    voxel_A : float
        Side of a voxel in Å.
    debye_waller_A2 : float or mapping of str to float
        See `ProjectedPotential.of`.

    Returns
    -------
    ndarray of shape (nz, ny, nx), float32
        In volts.

    Raises
    ------
    UsageError
        If an element is unknown or has no Debye-Waller factor.
    """
    n_box = max(4, int(np.ceil(BOX_A / voxel_A)))
    side_A = n_box * voxel_A
    m = int(LARGEST_FREQUENCY_PER_A * side_A)
    q = np.arange(-m, m + 1) / side_A
    averaging = np.sinc(q * voxel_A) / side_A
    qz, qy, qx = np.meshgrid(q, q, q[m:], indexing="ij", sparse=True)
    squared = qz**2 + qy**2 + qx**2
    weight = averaging[:, None, None] * averaging[:, None] * averaging[m:] * np.where(qx > 0, 2, 1)
    volume = np.zeros(shape, np.float32)
    for element in np.unique(atoms.species).tolist():
        form = (weight * _form_factor(element, squared, debye_waller_A2)).astype(np.complex64)
        for position_A in atoms.position_A[atoms.species == element]:
            place = position_A[::-1] / voxel_A + [centre(n) for n in shape]
            first = np.ceil(place - n_box / 2).astype(np.intp)
            offset_A = (first + np.arange(n_box)[:, np.newaxis] - place).T * voxel_A
            wave_z, wave_y, wave_x = np.exp(2j * np.pi * offset_A[:, :, np.newaxis] * q).astype(np.complex64)
            planes = wave_y @ (form @ wave_x[:, m:].T)
            box = np.tensordot(wave_z, planes, axes=1).real
            _add_box(volume, box, first)
    return volume


def _add_box(volume: Floats, box: Floats, first: NDArray[np.intp]) -> None:
    """Add a box to a volume, given the voxel of its first corner; what is outside is left out."""
    start = np.clip(first, 0, volume.shape)
    stop = np.clip(first + box.shape, 0, volume.shape)
    target = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    source = tuple(slice(a, b) for a, b in zip(start - first, stop - first, strict=True))
    volume[target] += box[source]


def _form_factor(element: str, squared_per_A2: Doubles, debye_waller_A2: DebyeWaller) -> Doubles:
    """Compute the Fourier transform of the potential of an element in V Å³, given q²."""
    if isinstance(debye_waller_A2, Mapping):
        if element not in debye_waller_A2:
            raise UsageError(f"no Debye-Waller factor of {element}; give one for all elements, or for each")
        b_A2 = debye_waller_A2[element]
    else:
        b_A2 = debye_waller_A2
    factor = scattering_factor(element, np.sqrt(squared_per_A2))
    return np.asarray(POTENTIAL_V_A2 * factor * np.exp(-b_A2 / 4 * squared_per_A2))


def _structure_factor(y: Doubles, x: Doubles, shape: tuple[int, int]) -> NDArray[np.complex64]:
    """Compute Σ exp(-2πi (k y + l x)) for k from -m to m and l from 0 to n, given (2 m + 1, n + 1)."""
    total = np.zeros(shape, np.complex64)
    m, n = shape[0] // 2, shape[1] - 1
    step = max(1, VALUES_AT_ONCE // max(shape))
    for start in range(0, len(x), step):
        chosen = slice(start, start + step)
        total += _phase_factors(y[chosen], -m, m).T @ _phase_factors(x[chosen], 0, n)
    return total


def _phase_factors(place: Doubles, first: int, last: int) -> NDArray[np.complex64]:
    """Compute exp(-2πi k place) for k from `first` to `last`: shape (n_places, last - first + 1).

    All of them are products of two short lists, of near and of far k: much faster than an exponential each.
    """
    n_near = int(np.sqrt(last - first)) + 1
    n_far = (last - first) // n_near + 1
    near, far = (
        np.exp(-2j * np.pi * np.outer(place, k)).astype(np.complex64)
        for k in (np.arange(n_near), first + n_near * np.arange(n_far))
    )
    factors = (far[:, :, np.newaxis] * near[:, np.newaxis]).reshape(len(place), -1)
    return np.asarray(factors[:, : last - first + 1])
