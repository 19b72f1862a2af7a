"""Refinement of the orientation of every view against projections of a volume.

Only fine structure reveals a wrong angle: a compact particle, when blurred, looks similar from all
directions. So views and projections are compared after a band-pass, the difference of two Gaussians.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from etcli.core.errors import DataError, UsageError
from etcli.core.geometry import centre
from etcli.core.orientation import euler_angles, rotation_matrices
from etcli.core.parallel import ordered_map
from etcli.core.projectors.oriented import OrientedProjector
from etcli.core.solvers.backprojection import inverse_sums
from etcli.core.solvers.sirt import sirt

Array = NDArray[np.float32]
Float = NDArray[np.float64]

TRUNCATE = 3.0  # standard deviations of a Gaussian
DIFFERENCE_RAD = np.deg2rad(0.5)  # for derivatives; must be well below the width of an atom
VIEWS_AT_ONCE = 16
DAMPING = 1e-3  # relative to the diagonal of the normal equations
DAMPING_UP, DAMPING_DOWN = 10.0, 0.3  # factors of the damping after a step that failed or succeeded

BAND_PX = (0.7, 3.0)
STEPS_A_ROUND = 2
SIRT_RELAXATION = 1.8
OVERSHOOT = 1.5
"""Factor of the changes of a round. A volume fits the angles that it was reconstructed with, so the angles
found from it change too little; 1.5 compensates for much of that, 2 oscillates."""
CALM_ROUNDS = 2  # first rounds, without this factor


@dataclass(frozen=True, eq=False)
class Orientations:
    """Orientation and shift of every view, and its correlation with the projection of a volume.

    Parameters
    ----------
    euler_deg : ndarray of shape (n_views, 3), float64
        φ, θ and ψ in degrees; see `etcli.core.orientation`.
    shift_px : ndarray of shape (n_views, 2), float64
        (x, y) by which the content of a view has to be moved to bring the rotation centre to its middle.
    correlation : ndarray of shape (n_views,), float64
        Correlation of the band-passed view with the band-passed projection.
    change_deg : float
        Root mean square rotation in the last step, or round: an estimate of what may still change.
    rounds : int
        Rounds that were made.
    follows_noise : bool
        Whether the rounds ended because their rotations had no common direction any more.
    """

    euler_deg: Float
    shift_px: Float
    correlation: Float
    change_deg: float
    rounds: int = 1
    follows_noise: bool = False


def refine_orientations(
    volume: Array,
    views: Array,
    euler_deg: ArrayLike,
    *,
    shift_px: ArrayLike | None = None,
    band_px: tuple[float, float] = BAND_PX,
    steps: int = 5,
    max_step_deg: float = 2.0,
    max_step_px: float = 1.0,
    threads: int = 1,
) -> Orientations:
    """Refine orientations and shifts of views so that they match projections of a volume.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx), float32
        Density.
    views : ndarray of shape (n_views, n_v, n_u), float32
        Views without background; read a few at a time.
    euler_deg : array_like of shape (n_views, 3)
        Starting values of φ, θ and ψ in degrees.
    shift_px : array_like of shape (n_views, 2), optional
        Starting values of the shift (x, y) of the content of each view; zero when not given.
    band_px : (float, float)
        Standard deviations of the two Gaussians, of which the wider is subtracted.
    steps : int
        Maximum number of steps per view.
    max_step_deg, max_step_px : float
        Longest rotation and move in a step.
    threads : int
        Number of threads.

    Returns
    -------
    Orientations
        Each view at its best correlation.

    Raises
    ------
    DataError
        If the counts differ or values are not finite.
    UsageError
        If a number is out of range.

    Notes
    -----
    The Levenberg-Marquardt method for each view: the misfit ‖F(y - α P)‖² of the band-passed view y and
    projection P is linear in the brightness α and linearised in rotations about the three axes of the
    microscope and moves along two of them. For rotations about u and v the derivative of P is a central
    difference of two projections, for the others it follows from the gradient of P. A step that lowers the
    correlation is undone and repeated with stronger damping.
    """
    start = _starting_poses(views, euler_deg, shift_px)
    if volume.ndim != 3 or not np.isfinite(volume).all() or not volume.any():
        raise DataError("orientations need a volume of finite values, not all of them zero")
    search = _Search(band_px, steps, np.deg2rad(max_step_deg), max_step_px, threads)
    poses, correlation, change_rad = search.refine(volume, views, start)
    return _to_orientations(poses, correlation, change_rad, euler_deg)


def align_orientations(
    views: Array,
    euler_deg: ArrayLike,
    *,
    shift_px: ArrayLike | None = None,
    thickness: int | None = None,
    rounds: int = 10,
    iterations: int = 30,
    tolerance_deg: float = 0.01,
    band_px: tuple[float, float] = BAND_PX,
    max_step_deg: float = 2.0,
    max_step_px: float = 1.0,
    threads: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Orientations:
    """Find orientations and shifts of views, in alternation with reconstructions of the volume.

    Parameters
    ----------
    views : ndarray of shape (n_views, n_v, n_u), float32
        Views without background.
    euler_deg : array_like of shape (n_views, 3)
        Starting values of φ, θ and ψ in degrees.
    shift_px : array_like of shape (n_views, 2), optional
        Starting values of the shift (x, y) of the content of each view; zero when not given.
    thickness : int, optional
        Voxels of the volume along z; as many as along x when not given.
    rounds : int
        Maximum number of reconstructions.
    iterations : int
        Iterations of SIRT in a round, without negative density, starting from the previous volume.
    tolerance_deg : float
        The rounds end when the root mean square rotation in one of them is smaller, or follows the noise.
    band_px, max_step_deg, max_step_px, threads
        As for `refine_orientations`.
    progress : callable, optional
        Called with 1 after every round.

    Returns
    -------
    Orientations
        With the same mean rotation and the same mean position of the specimen as at the start.

    Raises
    ------
    DataError
        If the counts differ or values are not finite.
    UsageError
        If a number is out of range.

    Notes
    -----
    A rotation common to all views, R_k → R_k G, rotates the specimen, and a move by R_k t displaces it;
    neither changes any view, so both are kept at zero on average. Errors that vary slowly from view to view
    are coupled to a deformation of the volume and take many rounds: the volume must adapt to the angles, and
    so is carried over from round to round. As long as there is an error to correct, the rotations of a round
    point in the direction of those before; once they correlate no more than random ones would, within two
    standard deviations, they follow the noise, and the rounds end. Leaving a view out of the volume that it
    is compared with gave no improvement on data of 60 views.
    """
    start = poses = _starting_poses(views, euler_deg, shift_px)
    _check_at_least(1, rounds=rounds, iterations=iterations)
    search = _Search(band_px, STEPS_A_ROUND, np.deg2rad(max_step_deg), max_step_px, threads)
    n_v, n_u = views.shape[1:]
    volume = last_turn_rad = None
    follows_noise = False
    for n in range(rounds):
        projector = OrientedProjector(
            poses.rotation,
            (thickness or n_u, n_v, n_u),
            (n_v, n_u),
            centre_px=poses.centre_px,
            threads=threads,
        )
        volume = sirt(
            projector,
            views,
            iterations=iterations,
            relaxation=SIRT_RELAXATION,
            lower=0,
            initial=volume,
            sums=inverse_sums(projector),
        )
        if not volume.any():
            raise DataError("the views hold nothing to reconstruct; is the background subtracted twice?")
        matched, correlation, _ = search.refine(volume, views, poses)
        turn_rad, move_px = poses.difference_to(matched)
        factor = OVERSHOOT if n >= CALM_ROUNDS else 1
        last, poses = poses, poses.moved(factor * turn_rad, factor * move_px).without_common_motion(start)
        change_rad = factor * _rms(turn_rad)
        turn_rad, _ = last.difference_to(poses)
        follows_noise = last_turn_rad is not None and _is_random(turn_rad, last_turn_rad)
        last_turn_rad = turn_rad
        if progress:
            progress(1)
        if np.rad2deg(change_rad) < tolerance_deg:
            follows_noise = False
            break
        if follows_noise:
            break
    found = _to_orientations(poses, correlation, change_rad, euler_deg)
    return replace(found, rounds=n + 1, follows_noise=follows_noise)


class _Poses(NamedTuple):
    """Pose of every view: its rotation, and where it shows the centre of the volume."""

    rotation: Float
    centre_px: Float

    def moved(self, turn_rad: Float, move_px: Float) -> "_Poses":
        """Return the poses after rotations about the axes of the microscope and moves on the detector."""
        turn = Rotation.from_rotvec(turn_rad).as_matrix()
        return _Poses(turn @ self.rotation, self.centre_px + move_px)

    def difference_to(self, target: "_Poses") -> tuple[Float, Float]:
        """Return the rotations and moves that lead to the target poses."""
        turn = Rotation.from_matrix(target.rotation @ self.rotation.transpose(0, 2, 1))
        return turn.as_rotvec(), target.centre_px - self.centre_px

    def without_common_motion(self, start: "_Poses") -> "_Poses":
        """Return the poses without the mean rotation and displacement of the specimen since the start."""
        common = Rotation.from_matrix(start.rotation.transpose(0, 2, 1) @ self.rotation).mean().as_matrix()
        rotation = self.rotation @ common.T
        directions = rotation[:, :2].reshape(-1, 3)
        displacement = np.linalg.lstsq(directions, (self.centre_px - start.centre_px).ravel())[0]
        return _Poses(rotation, self.centre_px - (directions @ displacement).reshape(-1, 2))


class _Equations(NamedTuple):
    """Normal equations of every view for brightness, three rotations and two moves, and its correlation."""

    matrix: Float
    right: Float
    correlation: Float


@dataclass(frozen=True)
class _Search:
    """Levenberg-Marquardt search for the pose of each view; see `refine_orientations`."""

    band_px: tuple[float, float]
    steps: int
    longest_turn_rad: float
    longest_move_px: float
    threads: int

    def __post_init__(self) -> None:
        _check_at_least(1, steps=self.steps)
        if not 0 <= self.band_px[0] < self.band_px[1]:
            raise UsageError(
                f"a band of {self.band_px[0]:g} to {self.band_px[1]:g} pixels lets nothing through"
            )
        if not min(self.longest_turn_rad, self.longest_move_px) > 0:
            raise UsageError("the longest step must be positive")

    def refine(self, volume: Array, views: Array, poses: _Poses) -> tuple[_Poses, Float, float]:
        """Return the best poses, their correlations and the root mean square rotation of the last step."""
        equations = self._equations(volume, views, poses)
        damping = np.full(len(views), DAMPING)
        for _ in range(self.steps):
            turn_rad, move_px = self._step(equations, damping)
            trial = poses.moved(turn_rad, move_px)
            trial_equations = self._equations(volume, views, trial)
            better = trial_equations.correlation > equations.correlation
            poses = _Poses(*_select_views(better, trial, poses))
            equations = _Equations(*_select_views(better, trial_equations, equations))
            damping *= np.where(better, DAMPING_DOWN, DAMPING_UP)
            change_rad = _rms(turn_rad * better[:, np.newaxis])
        return poses, equations.correlation, change_rad

    def _step(self, equations: _Equations, damping: Float) -> tuple[Float, Float]:
        """Return rotations and moves of all views; zero where the projection does not match at all."""
        diagonal = np.einsum("kii->ki", equations.matrix) * damping[:, np.newaxis]
        diagonal[:, 0] = 0
        diagonal += np.finfo(float).tiny  # views that show nothing
        matrix = equations.matrix + diagonal[:, np.newaxis] * np.eye(diagonal.shape[1])
        solution = np.linalg.solve(matrix, equations.right[..., np.newaxis])[..., 0]
        brightness = np.where(solution[:, 0] > 0, solution[:, 0], np.inf)[:, np.newaxis]
        return (
            _limit_length(solution[:, 1:4] / brightness, self.longest_turn_rad),
            _limit_length(solution[:, 4:6] / brightness, self.longest_move_px),
        )

    def _equations(self, volume: Array, views: Array, poses: _Poses) -> _Equations:
        """Return the equations of all views from projections and their derivatives, some views at a time."""
        parts: list[tuple[Float, Float, float]] = []
        for first in range(0, len(views), VIEWS_AT_ONCE):
            batch = slice(first, first + VIEWS_AT_ONCE)
            images = _derivatives(
                volume, views.shape[1:], poses.rotation[batch], poses.centre_px[batch], self.threads
            )
            pairs = zip(views[batch], images, strict=True)
            parts += ordered_map(self._view_equations, pairs, threads=self.threads)
        matrix, right, correlation = (np.array(part) for part in zip(*parts, strict=True))
        return _Equations(matrix, right, correlation)

    def _view_equations(self, pair: tuple[Array, Array]) -> tuple[Float, Float, float]:
        """Return the normal equations of one view and its correlation with the projection."""
        view, images = (self._band_pass(array).astype(np.float64) for array in pair)
        models, data = images.reshape(len(images), -1), view.ravel()
        matrix, right = models @ models.T, models @ data
        norm = np.sqrt(matrix[0, 0] * (data @ data))
        return matrix, right, right[0] / norm if norm > 0 else 0.0

    def _band_pass(self, images: Array) -> Array:
        """Return images (the last two axes) after the band-pass."""
        narrow, wide = (
            ndimage.gaussian_filter(images, sigma, mode="constant", truncate=TRUNCATE, axes=(-2, -1))
            for sigma in self.band_px
        )
        return np.asarray(narrow - wide)


def _derivatives(
    volume: Array, shape: tuple[int, ...], rotation: Float, centre_px: Float, threads: int
) -> Array:
    """Return projections and their derivatives, as an array of shape (n_views, 6, n_v, n_u).

    The derivatives are by rotations about u, v and the beam, then by moves along u and v.
    """
    rotation_vectors = np.array([[0, 0, 0], [1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]])
    matrices = Rotation.from_rotvec(DIFFERENCE_RAD * rotation_vectors).as_matrix()[:, np.newaxis] @ rotation
    projector = OrientedProjector(
        matrices.reshape(-1, 3, 3), volume.shape, shape, centre_px=np.tile(centre_px, (5, 1)), threads=threads
    )
    unrotated, *rotated = projector.forward(volume).reshape(5, len(rotation), *shape)
    about_u, about_v = ((rotated[n] - rotated[n + 1]) / np.float32(2 * DIFFERENCE_RAD) for n in (0, 2))
    along_v, along_u = np.gradient(unrotated, axis=(1, 2))
    v, u = (
        np.arange(n, dtype=np.float32) - np.float32(centre(n)) - offset[:, np.newaxis].astype(np.float32)
        for n, offset in zip(shape, centre_px.T[::-1], strict=True)
    )
    about_beam = v[:, :, np.newaxis] * along_u - u[:, np.newaxis] * along_v
    return np.stack([unrotated, about_u, about_v, about_beam, -along_u, -along_v], axis=1)


def _select_views(
    mask: NDArray[np.bool_], first: tuple[Float, ...], second: tuple[Float, ...]
) -> Iterator[Float]:
    """Yield the first arrays for the selected views, and the second for the others."""
    for in_first, in_second in zip(first, second, strict=True):
        yield np.where(mask.reshape(-1, *[1] * (in_first.ndim - 1)), in_first, in_second)


def _rms(vectors: Float) -> float:
    """Return the root mean square length of vectors."""
    return float(np.sqrt(np.mean(np.sum(vectors**2, axis=1))))


def _is_random(turn_rad: Float, before_rad: Float) -> bool:
    """Check whether rotations correlate with others no more than random ones would, within two sigma."""
    norms = np.linalg.norm(turn_rad) * np.linalg.norm(before_rad)
    return bool(np.sum(turn_rad * before_rad) <= 2 / np.sqrt(turn_rad.size) * norms)


def _limit_length(vectors: Float, longest: float) -> Float:
    """Return vectors, shortened where they are longer than a limit."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors * np.minimum(1, longest / np.maximum(length, np.finfo(float).tiny)))


def _starting_poses(views: Array, euler_deg: ArrayLike, shift_px: ArrayLike | None) -> _Poses:
    """Return the starting poses, after validation of angles, shifts and views."""
    rotation = rotation_matrices(euler_deg)
    n_views = len(rotation)
    shift = np.zeros((n_views, 2)) if shift_px is None else np.asarray(shift_px, np.float64)
    if views.ndim != 3 or len(views) != n_views or shift.shape != (n_views, 2):
        raise DataError(
            f"three Euler angles and a shift (x, y) per view are needed, not {n_views} and an array of shape "
            f"{shift.shape} for views of shape {views.shape}"
        )
    if not (np.isfinite(views).all() and np.isfinite(shift).all()):
        raise DataError("views and shifts must be finite numbers; replace NaN, or exclude these views")
    return _Poses(rotation, -shift)


def _check_at_least(least: int, **numbers: int) -> None:
    """Raise UsageError if a number is less than ``least``."""
    for name, number in numbers.items():
        if number < least:
            raise UsageError(f"{name}: at least {least} is needed, not {number}")


def _to_orientations(
    poses: _Poses, correlation: Float, change_rad: float, near_deg: ArrayLike
) -> Orientations:
    """Convert poses to Euler angles and shifts."""
    return Orientations(
        euler_deg=euler_angles(poses.rotation, near_deg=near_deg),
        shift_px=-poses.centre_px,
        correlation=correlation,
        change_deg=float(np.rad2deg(change_rad)),
    )
