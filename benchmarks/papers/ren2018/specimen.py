"""Specimens as in Ren et al. (2018): silicon in amorphous oxide, and balls of SrTiO3, with sites left empty.

    python specimen.py silicon needle.xyz --radius 20 --tip 30              the paper's kind
    python specimen.py silicon ball.xyz --radius 14 --shell 6 --seed 3      a ball
    python specimen.py silicon ball.xyz --vacancies 0.05                    and ball_vacancies.xyz
    python specimen.py titanate ball.xyz --radius 9.6 --vacancies 0.03

Lengths are in Å, vacancies a fraction of the silicon of the core, or of the titanium. The tip is along y.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
from silica import amorphous_silica

from etcli.core.atomic_model import Atoms
from etcli.core.simulate.crystals import ball_of_crystal
from etcli.io.atoms import write_atoms

Array = NDArray[np.float64]

SILICON = Atoms(
    5.431
    / 4
    * np.array(
        [[0, 0, 0], [0, 2, 2], [2, 0, 2], [2, 2, 0], [1, 1, 1], [1, 3, 3], [3, 1, 3], [3, 3, 1]], np.float64
    ),
    np.full(8, "Si"),
)
SILICON_LATTICE_A = 5.431 * np.eye(3)
TITANATE = Atoms(
    3.905 / 2 * np.array([[0, 0, 0], [1, 1, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]], np.float64),
    np.array(["Sr", "Ti", "O", "O", "O"]),
)
TITANATE_LATTICE_A = 3.905 * np.eye(3)
LEAST_A = {"O-O": 2.2, "O-Si": 1.45, "Si-Si": 2.1}
"""Atoms that are closer cannot both be there, where core and oxide meet or the quench left a defect."""
BOND_A = 2.1
"""Longest bond of silicon and oxygen."""
TIP_RADIUS_A = 4.0


def main() -> None:
    """Write a specimen, and the sites left empty."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=("silicon", "titanate"))
    parser.add_argument("output", type=Path)
    parser.add_argument("--radius", type=float, default=20.0)
    parser.add_argument("--shell", type=float, default=7.0, help="mean thickness of the oxide")
    parser.add_argument("--tip", type=float, default=0.0, help="height of its centre, 0 for a ball")
    parser.add_argument("--offset", type=float, default=1.3, help="of the centre of the core")
    parser.add_argument("--vacancies", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    rng = np.random.default_rng(given.seed)
    if given.kind == "silicon":
        atoms, n_sites = silicon_in_oxide(given.radius, given.shell, given.tip, given.offset, rng)
    else:
        atoms, n_sites = titanate_ball(given.radius, rng)
    # the sites that may be left empty come first
    empty = np.zeros(len(atoms), bool)
    empty[rng.permutation(n_sites)[: round(given.vacancies * n_sites)]] = True
    write_atoms(given.output, atoms.select(~empty), notes={"seed": str(given.seed)})
    if empty.any():
        write_atoms(
            given.output.with_name(given.output.stem + "_vacancies.xyz"), atoms.select(empty), notes={}
        )
    report(atoms.select(~empty))
    print(f"{empty.sum()} of {n_sites} sites left empty")


def silicon_in_oxide(
    radius_A: float, shell_A: float, tip_A: float, offset_A: float, rng: np.random.Generator
) -> tuple[Atoms, int]:
    """Make crystalline silicon in amorphous oxide, in the shape of a ball or of one with a tip.

    Parameters
    ----------
    radius_A : float
        Of the whole ball.
    shell_A : float
        Thickness of the oxide where the core is in the middle.
    tip_A : float
        Height of the tip along y, whose rounding has the radius `TIP_RADIUS_A`; 0 without.
    offset_A : float
        Of the core from the middle, in a random direction.
    rng : numpy.random.Generator

    Returns
    -------
    atoms : Atoms
        Those of the core first.
    n_core : int
    """
    low = -radius_A
    high = max(radius_A, tip_A + TIP_RADIUS_A)
    middle = np.array([0, (low + high) / 2, 0])
    oxide, box_A = amorphous_silica(np.array([2 * radius_A, high - low, 2 * radius_A]), rng)
    oxide = Atoms(oxide.position_A - box_A / 2 + middle, oxide.species)
    report_oxide(oxide, box_A)
    direction = rng.normal(size=3)
    offset = offset_A * direction / np.linalg.norm(direction)
    reach_A = 2 * (high - low)
    crystal = ball_of_crystal(SILICON, SILICON_LATTICE_A, reach_A, rng)
    crystal = Atoms(Rotation.random(rng=rng).apply(crystal.position_A) + middle, crystal.species)

    def inside_core(position_A: Array) -> NDArray[np.bool_]:
        return depth(position_A - offset, radius_A, tip_A) > shell_A

    core = crystal.select(inside_core(crystal.position_A))
    shell = oxide.select((depth(oxide.position_A, radius_A, tip_A) > 0) & ~inside_core(oxide.position_A))
    order = np.argsort(shell.species == "O", kind="stable")
    both = Atoms(
        np.concatenate([core.position_A, shell.position_A[order]]) - middle,
        np.concatenate([core.species, shell.species[order]]),
    )
    return without_overlaps(both), len(core)


def depth(position_A: Array, radius_A: float, tip_A: float) -> Array:
    """Compute how deep points are below the surface of a ball at the origin, with a tip along y.

    Parameters
    ----------
    position_A : ndarray of shape (n, 3), float64
    radius_A : float
    tip_A : float
        Height of the centre of a second, smaller ball; the shape is the convex hull of the two.

    Returns
    -------
    ndarray of shape (n,), float64
        In Å, negative outside.
    """
    if tip_A <= radius_A - TIP_RADIUS_A:
        return radius_A - np.linalg.norm(position_A, axis=1)
    across, along = np.hypot(position_A[:, 0], position_A[:, 2]), position_A[:, 1]
    sine = (radius_A - TIP_RADIUS_A) / tip_A
    cosine = np.sqrt(1 - sine**2)
    height = cosine * along - sine * across  # along the flank of the cone
    return np.select(
        [height < 0, height > cosine * tip_A],
        [radius_A - np.hypot(across, along), TIP_RADIUS_A - np.hypot(across, along - tip_A)],
        radius_A - cosine * across - sine * along,
    )


def titanate_ball(radius_A: float, rng: np.random.Generator) -> tuple[Atoms, int]:
    """Make a ball of SrTiO3 in a random orientation.

    Parameters
    ----------
    radius_A : float
    rng : numpy.random.Generator

    Returns
    -------
    atoms : Atoms
        Titanium with all its oxygen comes first.
    n_sites : int
        How many of these there are.
    """
    ball = ball_of_crystal(TITANATE, TITANATE_LATTICE_A, 2 * radius_A, rng)
    enclosed = np.linalg.norm(ball.position_A, axis=1) < radius_A - TITANATE_LATTICE_A[0, 0] / 2
    sites = enclosed & (ball.species == "Ti")
    order = np.argsort(~sites, kind="stable")
    turned = Rotation.random(rng=rng).apply(ball.position_A)
    return Atoms(turned, ball.species).select(order), int(sites.sum())


def without_overlaps(atoms: Atoms) -> Atoms:
    """Remove atoms that are closer than `LEAST_A` to one before them."""
    kept = np.ones(len(atoms), bool)
    pairs = cKDTree(atoms.position_A).query_pairs(max(LEAST_A.values()), output_type="ndarray")
    for i, j in pairs[np.lexsort((pairs[:, 0], pairs[:, 1]))]:
        distance_A = np.linalg.norm(atoms.position_A[i] - atoms.position_A[j])
        kind = "-".join(sorted((atoms.species[i], atoms.species[j])))
        if kept[i] and distance_A < LEAST_A[kind]:
            kept[j] = False
    return atoms.select(kept)


def report_oxide(oxide: Atoms, box_A: Array) -> None:
    """Print density, bonds and coordination of the amorphous oxide in its periodic box."""
    position_A = (oxide.position_A - oxide.position_A.min(axis=0)) % box_A
    is_si = oxide.species == "Si"
    silicon, oxygen = (cKDTree(position_A[chosen], boxsize=box_A) for chosen in (is_si, ~is_si))
    bonds_A = np.array(list(silicon.sparse_distance_matrix(oxygen, BOND_A).values()))
    print(
        f"oxide: {len(oxide)} atoms, {len(oxide) / box_A.prod():.4f} per Å³; Si-O {bonds_A.mean():.3f} ± "
        f"{bonds_A.std():.3f} Å; coordination {len(bonds_A) / is_si.sum():.2f} / "
        f"{len(bonds_A) / (~is_si).sum():.2f}"
    )
    edges = np.arange(1.4, 6.01, 0.2)
    for name, one, other, n_pairs in (
        ("Si-O", silicon, oxygen, silicon.n * oxygen.n),
        ("O-O", oxygen, oxygen, oxygen.n**2),
        ("Si-Si", silicon, silicon, silicon.n**2),
    ):
        counts = np.diff(one.count_neighbors(other, edges)) / n_pairs * box_A.prod()
        g = counts / (4 / 3 * np.pi * np.diff(edges**3))
        peak = int(g.argmax())
        print(
            f"  g(r) of {name}: highest {g[peak]:.1f} at {edges[peak : peak + 2].mean():.1f} Å, "
            f"{g[-5:].mean():.2f} from 5 to 6 Å"
        )


def report(atoms: Atoms) -> None:
    """Print composition, size and least distances."""
    kinds, counts = np.unique(atoms.species, return_counts=True)
    size_A = np.ptp(atoms.position_A, axis=0)
    print(
        f"{len(atoms)} atoms: {', '.join(f'{n} {kind}' for kind, n in zip(kinds, counts, strict=True))}; "
        f"{size_A[0]:.0f} x {size_A[1]:.0f} x {size_A[2]:.0f} Å"
    )
    for a, kind in enumerate(kinds):
        for other in kinds[a:]:
            tree = cKDTree(atoms.position_A[atoms.species == kind])
            distances, _ = tree.query(atoms.position_A[atoms.species == other], k=2)
            print(f"  {kind}-{other}: at least {distances[:, int(kind == other)].min():.2f} Å")


if __name__ == "__main__":
    main()
