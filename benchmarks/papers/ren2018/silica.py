"""Amorphous silica: silicon and oxygen, melted and quenched by molecular dynamics in a periodic box.

The Coulomb part of the potential is damped and its force shifted, so that it ends at `CUTOFF_A`.

References
----------
van Beest, Kramer & van Santen, Phys. Rev. Lett. 64, 1955 (1990): the pair potential.
Fennell & Gezelter, J. Chem. Phys. 124, 234104 (2006): damped, shifted forces.
"""

import numpy as np
from _forces import forces, pairs
from numpy.typing import NDArray
from scipy.special import erfc

from etcli.core.atomic_model import Atoms

Array = NDArray[np.float64]

ATOMS_PER_A3 = 0.0662
"""2.20 g/cm³."""
MASS_U = {"O": 15.999, "Si": 28.085}
CHARGE = {"O": -1.2, "Si": 2.4}
REPULSION = {1: (18003.7572, 4.87318, 133.5381), 0: (1388.7730, 2.76000, 175.0000)}
"""Of Si–O (1) and O–O (0): A in eV, b in 1/Å, c in eV Å⁶ of A exp(−b r) − c/r⁶."""
COULOMB_EV_A = 14.399645
"""e²/(4π ε₀)."""
BOLTZMANN_EV_K = 8.617333e-5
EV_PER_U_A2_FS2 = 103.642696
"""Energy of 1 u (Å/fs)² in eV."""

CUTOFF_A = 6.5
DAMPING_PER_A = 0.2
SKIN_A = 1.5
"""By how much lists of neighbours reach beyond the cutoff."""
CORE_STIFFNESS_EV_A2 = 30.0

TIME_STEP_FS = 1.6
MELT_K = 5000.0
ROOM_K = 300.0
MELT_STEPS = 1500
QUENCH_STEPS = 5000
RELAX_STEPS = 300
RELAX_A2_EV = 0.006
LONGEST_STEP_A = 0.1
RESCALE_EVERY = 5


def amorphous_silica(least_box_A: Array, rng: np.random.Generator) -> tuple[Atoms, Array]:
    """Make a periodic box of amorphous SiO2.

    Parameters
    ----------
    least_box_A : ndarray of shape (3,), float64
        Edges of the box, which becomes a little larger where it must hold whole numbers of SiO2.
    rng : numpy.random.Generator

    Returns
    -------
    atoms : Atoms
        Their origin is a corner of the box.
    box_A : ndarray of shape (3,), float64
    """
    box_A = np.maximum(least_box_A, 2 * (CUTOFF_A + SKIN_A))
    n = int(np.ceil(box_A.prod() * ATOMS_PER_A3 / 3))
    box_A = box_A * (3 * n / ATOMS_PER_A3 / box_A.prod()) ** (1 / 3)
    species = np.repeat(["Si", "O"], [n, 2 * n])
    dynamics = Dynamics(rng.random((3 * n, 3)) * box_A, species, box_A)
    dynamics.relax(RELAX_STEPS)
    dynamics.heat(MELT_K, rng)
    dynamics.run(np.full(MELT_STEPS, MELT_K))
    dynamics.run(np.linspace(MELT_K, ROOM_K, QUENCH_STEPS))
    dynamics.relax(RELAX_STEPS)
    return Atoms(dynamics.position_A % box_A, species), box_A


class Dynamics:
    """Motion of silicon and oxygen in a periodic box.

    Parameters
    ----------
    position_A : ndarray of shape (n_atoms, 3), float64
    species : ndarray of shape (n_atoms,), str
    box_A : ndarray of shape (3,), float64
    """

    def __init__(self, position_A: Array, species: NDArray[np.str_], box_A: Array) -> None:
        self.position_A = position_A
        self._box_A = box_A
        self._kind = (species == "Si").astype(np.int64)
        self._mass = EV_PER_U_A2_FS2 * np.array([MASS_U[symbol] for symbol in species])[:, None]
        self._velocity = np.zeros_like(position_A)
        self._table = force_table()
        self._listed_A = np.full_like(position_A, np.inf)  # so that the first step lists them
        self._neighbours: tuple[NDArray[np.int64], NDArray[np.int32]]

    def heat(self, temperature_K: float, rng: np.random.Generator) -> None:
        """Draw the velocities of a temperature."""
        self._velocity = rng.normal(size=self.position_A.shape) * np.sqrt(
            BOLTZMANN_EV_K * temperature_K / self._mass
        )
        self._rescale(temperature_K)

    def run(self, temperatures_K: Array) -> None:
        """Take one velocity Verlet step at each temperature, to which velocities are scaled now and then."""
        force = self._forces()
        for step, temperature_K in enumerate(temperatures_K):
            self._velocity += TIME_STEP_FS / 2 * force / self._mass
            self.position_A += TIME_STEP_FS * self._velocity
            force = self._forces()
            self._velocity += TIME_STEP_FS / 2 * force / self._mass
            if step % RESCALE_EVERY == 0:
                self._rescale(temperature_K)

    def relax(self, n_steps: int) -> None:
        """Go down the forces, in short steps."""
        for _ in range(n_steps):
            self.position_A += np.clip(RELAX_A2_EV * self._forces(), -LONGEST_STEP_A, LONGEST_STEP_A)

    def _rescale(self, temperature_K: float) -> None:
        self._velocity -= (self._mass * self._velocity).sum(axis=0) / self._mass.sum()
        now_K = (self._mass * self._velocity**2).mean() / BOLTZMANN_EV_K
        self._velocity *= np.sqrt(temperature_K / now_K)

    def _forces(self) -> Array:
        if np.square(self.position_A - self._listed_A).sum(axis=1).max() > (SKIN_A / 2) ** 2:
            self.position_A %= self._box_A
            self._listed_A = self.position_A.copy()
            self._neighbours = pairs(self.position_A, self._box_A, CUTOFF_A + SKIN_A)
        # between two lists atoms leave the box by less than the skin, so partners are still in the next image
        return forces(self.position_A, self._kind, self._box_A, self._neighbours, self._table, CUTOFF_A)


def force_table(n_entries: int = 8192) -> Array:
    """Tabulate the force between two atoms, divided by their distance, over the squared distance.

    Parameters
    ----------
    n_entries : int

    Returns
    -------
    ndarray of shape (3, n_entries), float64
        In eV/Å², positive where the atoms repel each other, of O–O, Si–O and Si–Si. Inside of the distance of
        the strongest repulsion, within which the attraction ∝ 1/r⁶ would win, the force rises linearly.
    """
    square = np.linspace(0, CUTOFF_A**2, n_entries)
    r = np.sqrt(np.maximum(square, square[1] / 4))

    def coulomb(distance: Array | float) -> Array:
        damped = DAMPING_PER_A * np.asarray(distance)
        return (
            erfc(damped) / np.square(distance)
            + 2 * DAMPING_PER_A / np.sqrt(np.pi) * np.exp(-(damped**2)) / distance
        )

    table = np.empty((3, n_entries))
    for row, charges in enumerate((CHARGE["O"] ** 2, CHARGE["O"] * CHARGE["Si"], CHARGE["Si"] ** 2)):
        force = COULOMB_EV_A * charges * (coulomb(r) - coulomb(CUTOFF_A))
        if row in REPULSION:
            a, b, c = REPULSION[row]
            force += a * b * np.exp(-b * r) - 6 * c / r**7
            near = (r > 0.5) & (r < 2.0)
            strongest = int(np.flatnonzero(near)[force[near].argmax()])
            inside = r < r[strongest]
            force[inside] = force[strongest] + CORE_STIFFNESS_EV_A2 * (r[strongest] - r[inside])
        table[row] = force / r
    return table
