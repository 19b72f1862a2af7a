"""Lattice of an image of columns: which column of the crystal each one is, and the heights that it allows."""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from etcli.core.depth.zone_lattice import ZoneLattice
from etcli.core.errors import DataError

Doubles = NDArray[np.float64]

ANGLE_STEP_DEG = 0.25
ORDERS = 3
"""Highest order of the reflections from which the orientation is found."""
SCALES = np.linspace(0.94, 1.06, 13)
"""Errors of the pixel size that are tried."""
STRAIN = 0.08
"""Largest change of a length of the lattice, in any direction: more would make one lattice of another."""
CLOSE = 0.3
"""Largest distance of a column from its lattice site, relative to the distance of neighbouring sites."""
FEWEST_MATCHED = 0.6
"""Share of the columns that a lattice must explain: a sublattice of the right one explains half of them."""
RANDOM = 0.5
"""Residual of a lattice by chance, relative to the largest distance from a site: 0.7 in the mean."""
FEWEST_COLUMNS = 4
EQUAL = 1.05
"""Residual of a lattice that explains the positions as well as the best one, relative to it."""
LEVELS = 200
"""Levels of the lattice along the beam that are tried in one spacing."""


@dataclass(frozen=True, eq=False)
class LatticeMatch:
    """Sites of the observed columns.

    Parameters
    ----------
    matched : ndarray of shape (n_columns,), bool
        Columns that lie on the lattice.
    height_A : ndarray of shape (n_columns,), float64
        Height of one atom on each column's site in Å, modulo the spacing; NaN where not matched.
    residual_A : float
        Root mean square distance of the columns from their sites in Å.
    scale : float
        Size of the observed lattice relative to the given one.
    angle_deg : float
        Direction of the given lattice's x axis in the image, in degrees.
    """

    matched: NDArray[np.bool_]
    height_A: Doubles
    residual_A: float
    scale: float
    angle_deg: float


@dataclass(frozen=True, eq=False)
class LatticeDepths:
    """Depths of the lattice nearest to the measured ones.

    Parameters
    ----------
    depth_A : ndarray of shape (n_columns,), float64
        Depth of each column's centre on the lattice in Å; NaN where the column is not on the lattice.
    level_A : float
        Depth of the lattice's origin in Å, modulo the spacing.
    residual_A : float
        Median distance of the measured depths from the lattice in Å; a quarter of the spacing or more
        would come from depths that know nothing of it.
    probability : ndarray of shape (n_columns,), float64
        Probability that a column is on its level and not a whole spacing off, from its standard error; 0
        where the column is not on the lattice.
    n_used : int
        Columns from which the level was found.
    """

    depth_A: Doubles
    level_A: float
    residual_A: float
    probability: Doubles
    n_used: int


def match_lattice(position_A: Doubles, lattice: ZoneLattice) -> tuple[LatticeMatch, ...]:
    """Find the orientation, origin and distortion of a lattice in the positions of columns.

    Parameters
    ----------
    position_A : ndarray of shape (n_columns, 2), float64
        x and y of the columns in Å.
    lattice : ZoneLattice

    Returns
    -------
    tuple of LatticeMatch
        All that explain the positions equally well and differ in the heights, such as the two stackings of
        a close-packed plane: the depths have to decide between them.

    Raises
    ------
    DataError
        If two fifths of the columns do not fit the lattice: another structure or zone axis, a wrong pixel
        size, or an image off the zone axis.
    """
    if len(position_A) < FEWEST_COLUMNS:
        raise DataError(f"{len(position_A)} columns are too few to find a lattice; leave out --lattice")
    middle = position_A[np.linalg.norm(position_A - np.median(position_A, axis=0), axis=1).argmin()]
    trials = [
        _grown(position_A, middle, matrix, origin, lattice)
        for matrix in _orientations(position_A - middle, lattice)
        for origin in lattice.column_A
    ]
    best = max(trials, key=lambda sites: (int(sites.matched.sum()), -sites.residual))
    # Three parameters a coordinate are fitted, which makes the residual of few columns small by itself.
    freedom = max(1 - 3 / max(int(best.matched.sum()), 1), 0.0)
    by_chance = best.residual > RANDOM * CLOSE * lattice.column_spacing_A * np.sqrt(freedom)
    if best.matched.mean() < FEWEST_MATCHED or by_chance:
        raise DataError(
            f"only {best.matched.sum()} of {len(position_A)} columns lie on the lattice (columns "
            f"{lattice.column_spacing_A:.3g} Å apart; observed {_spacing(position_A):.3g} Å): check the "
            "structure, the zone axis and the pixel size, and whether the image is in zone axis"
        )
    matches: list[LatticeMatch] = []
    for sites in [best, *trials]:
        equal = (sites.matched == best.matched).all() and sites.residual <= EQUAL * best.residual + 1e-6
        height = np.where(sites.matched, np.mod(sites.height, lattice.spacing_A), np.nan)
        if equal and not any(_same_heights(height, other.height_A, lattice.spacing_A) for other in matches):
            matches.append(
                LatticeMatch(sites.matched, height, sites.residual, *_scale_and_angle(sites.matrix))
            )
    return tuple(matches)


def lattice_depths(
    depth_A: Doubles,
    sigma_A: Doubles,
    count: NDArray[np.int64],
    match: LatticeMatch,
    spacing_A: float,
    trusted: NDArray[np.bool_],
) -> LatticeDepths:
    """Move the depths of columns to the nearest ones that the lattice allows.

    The centre of a column of N atoms lies at level + height + (N − 1) spacing / 2, modulo the spacing. The
    level is the one with the smallest median distance of the measured depths from the lattice.

    Parameters
    ----------
    depth_A, sigma_A : ndarray of shape (n_columns,), float64
        Measured depths of the columns' centres and their standard errors in Å.
    count : ndarray of shape (n_columns,), int64
        Atoms of each column.
    match : LatticeMatch
    spacing_A : float
        Distance of neighbouring atoms of a column in Å.
    trusted : ndarray of shape (n_columns,), bool
        Columns from which the level is found.

    Returns
    -------
    LatticeDepths

    Raises
    ------
    DataError
        If no trusted column lies on the lattice.
    """
    own = match.height_A + (count - 1) * spacing_A / 2
    use = trusted & match.matched & np.isfinite(depth_A)
    if not use.any():
        raise DataError("no column with a trusted depth lies on the lattice; leave out --lattice")
    level = np.arange(LEVELS) * spacing_A / LEVELS
    weight = 1 / np.maximum(sigma_A[use], np.median(sigma_A[use])) ** 2
    distance = np.abs(_wrapped((depth_A - own)[use] - level[:, np.newaxis], spacing_A))
    order = np.argsort(distance, axis=1)
    cumulative = np.cumsum(weight[order], axis=1)
    at = (cumulative < cumulative[:, -1:] / 2).sum(axis=1)
    medians = np.take_along_axis(np.take_along_axis(distance, order, 1), at[:, np.newaxis], 1)[:, 0]
    start = level[medians.argmin()]
    near = _wrapped((depth_A - own)[use] - start, spacing_A)
    inside = np.abs(near) < spacing_A / 4
    found = start + np.average(near[inside], weights=weight[inside]) if inside.any() else start
    snapped = depth_A - _wrapped(depth_A - own - found, spacing_A)
    away = _wrapped(depth_A - own - found, spacing_A)
    others = away[:, np.newaxis] + spacing_A * np.arange(-3, 4)
    exponent = (away[:, np.newaxis] ** 2 - others**2) / (2 * sigma_A[:, np.newaxis] ** 2)
    probability = np.nan_to_num(1 / np.exp(exponent).sum(axis=1))
    level_A, residual_A = float(np.mod(found, spacing_A)), float(medians.min())
    return LatticeDepths(snapped, level_A, residual_A, probability, int(use.sum()))


def lattice_log_prior(
    depth_A: Doubles,
    sigma_A: Doubles,
    match: LatticeMatch,
    level_A: float,
    spacing_A: float,
) -> Doubles:
    """Compute how well the depth of each column agrees with the lattice for every atom count.

    One atom more moves the allowed centres by half a spacing: a measured depth tells odd counts from even.

    Parameters
    ----------
    depth_A : ndarray of shape (n_columns, n_counts), float64
        Depths of the centres, measured on the assumption of 0, 1, ... atoms, in Å.
    sigma_A : ndarray of shape (n_columns,), float64
        Their standard errors in Å.
    match : LatticeMatch
    level_A : float
        Depth of the lattice's origin in Å.
    spacing_A : float
        Distance of neighbouring atoms of a column in Å.

    Returns
    -------
    ndarray of shape (n_columns, n_counts), float64
        Logarithm of the likelihood of 0, 1, ... atoms, up to a constant; 0 where the lattice says nothing.
    """
    counts = np.arange(depth_A.shape[1])
    centre = level_A + match.height_A[:, np.newaxis] + (counts - 1) * spacing_A / 2
    away = _wrapped(depth_A - centre, spacing_A)[..., np.newaxis]
    images = spacing_A * np.arange(-2, 3)
    width = np.where(np.isfinite(sigma_A), sigma_A, spacing_A)[:, np.newaxis, np.newaxis]
    likelihood = np.exp(-((away + images) ** 2) / (2 * width**2)).sum(axis=-1)
    known = match.matched & np.isfinite(depth_A).all(axis=1) & np.isfinite(sigma_A)
    return np.where(known[:, np.newaxis], np.log(np.maximum(likelihood, 1e-12)), 0.0)


@dataclass(frozen=True, eq=False)
class _Sites:
    """Sites of all columns for one orientation and origin."""

    matched: NDArray[np.bool_]
    height: Doubles
    residual: float
    matrix: Doubles


def _orientations(position: Doubles, lattice: ZoneLattice) -> list[Doubles]:
    """Find the linear maps from the lattice to the image with which the columns diffract most strongly."""
    reciprocal = np.linalg.inv(lattice.vectors_A).T
    orders = np.array([pair for pair in product(range(-ORDERS, ORDERS + 1), repeat=2) if pair > (0, 0)])
    wave = orders @ reciprocal
    factor = np.abs(np.exp(-2j * np.pi * lattice.column_A @ wave.T).sum(axis=0))
    wave, factor = wave[factor > 1e-6], factor[factor > 1e-6]
    shortest = np.sort(np.linalg.norm(wave, axis=1))[: 2 * ORDERS][-1]
    wave, factor = (values[np.linalg.norm(wave, axis=1) <= shortest * 1.001] for values in (wave, factor))
    angles = np.deg2rad(np.arange(0, 360, ANGLE_STEP_DEG))
    # Only the columns near the middle: a wrong angle or scale puts the others out of phase.
    near = position[np.argsort(np.linalg.norm(position, axis=1))[:60]]
    score = np.empty((len(SCALES), len(angles)))
    turned = np.stack([np.cos(angles), -np.sin(angles), np.sin(angles), np.cos(angles)], axis=-1).reshape(
        -1, 2, 2
    )
    for row, scale in enumerate(SCALES):
        waves = np.einsum("aij,gj->agi", turned, wave / scale)
        score[row] = np.abs(np.exp(2j * np.pi * waves @ near.T).sum(axis=-1)) @ factor
    chosen: list[int] = []
    best = score.max(axis=0)
    for angle in np.argsort(-best):
        if all(abs((angle - other + 720) % 1440 - 720) * ANGLE_STEP_DEG > 5 for other in chosen):
            chosen.append(int(angle))
        if len(chosen) == 12 or best[angle] < 0.7 * best.max():
            break
    return [SCALES[score[:, angle].argmax()] * turned[angle] for angle in chosen]


def _grown(
    position: Doubles, middle: Doubles, matrix: Doubles, origin: Doubles, lattice: ZoneLattice
) -> _Sites:
    """Assign columns to sites from the middle outwards, while the map is fitted to those assigned so far."""
    order = np.argsort(np.linalg.norm(position - middle, axis=1))
    offset: Doubles = middle - matrix @ origin
    limit = CLOSE * lattice.column_spacing_A
    taken = min(9, len(position))
    while True:
        inner = order[:taken]
        sites, height, away = _nearest_sites(position, matrix, offset, lattice)
        good = inner[away[inner] < limit]
        if len(good) >= 4:
            design = np.column_stack([sites[good], np.ones(len(good))])
            if np.linalg.matrix_rank(design, tol=0.5) == 3:
                solution: Doubles = np.linalg.lstsq(design, position[good], rcond=None)[0].astype(np.float64)
                matrix, offset = solution[:2].T, solution[2]
        if taken == len(position):
            break
        taken = min(len(position), int(1.5 * taken) + 1)
    sites, height, away = _nearest_sites(position, matrix, offset, lattice)
    matched = (away < limit) & (np.abs(np.linalg.svd(matrix, compute_uv=False) - 1).max() <= STRAIN)
    residual = float(np.sqrt(np.mean(away[matched] ** 2))) if matched.any() else np.inf
    return _Sites(matched, height, residual, matrix)


def _nearest_sites(
    position: Doubles, matrix: Doubles, offset: Doubles, lattice: ZoneLattice
) -> tuple[Doubles, Doubles, Doubles]:
    """Return the nearest lattice site of each column, its height, and its distance in the image."""
    ideal = (position - offset) @ np.linalg.inv(matrix).T
    inverse = np.linalg.inv(lattice.vectors_A)
    corners = np.array(list(product((-1, 0, 1), repeat=2)))
    site, height = np.zeros_like(position), np.zeros(len(position))
    away = np.full(len(position), np.inf)
    for column, level in zip(lattice.column_A, lattice.height_A, strict=True):
        cell = np.rint((ideal - column) @ inverse)
        for corner in corners:
            here = (cell + corner) @ lattice.vectors_A + column
            distance = np.linalg.norm((ideal - here) @ matrix.T, axis=1)
            nearer = distance < away
            site[nearer], away[nearer] = here[nearer], distance[nearer]
            height[nearer] = ((cell + corner) @ lattice.rise_A + level)[nearer]
    return site, height, away


def _same_heights(one: Doubles, other: Doubles, spacing: float) -> bool:
    """Check whether heights are equal but for a common shift."""
    difference = (one - other)[np.isfinite(one)]
    return bool(np.abs(_wrapped(difference - difference[0], spacing)).max() < 0.05 * spacing)


def _scale_and_angle(matrix: Doubles) -> tuple[float, float]:
    turn = np.linalg.svd(matrix)
    rotation = turn[0] @ turn[2]
    return float(np.sqrt(abs(np.linalg.det(matrix)))), float(
        np.degrees(np.arctan2(rotation[1, 0], rotation[0, 0]))
    )


def _spacing(position: Doubles) -> float:
    return float(np.median(cKDTree(position).query(position, k=2)[0][:, 1]))


def _wrapped(value: Doubles, period: float) -> Doubles:
    """Return values modulo a period, from minus half of it to half of it."""
    return np.asarray(value - period * np.rint(value / period))
