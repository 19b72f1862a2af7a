"""Refinement of shifts, defoci and rotations of the images while a potential is reconstructed."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from etcli.core.arguments import check_choice
from etcli.core.geometry import centre
from etcli.core.multislice.phase_misfit import LeavingWave, PhaseContrastMisfit
from etcli.core.parallel import ordered_map
from etcli.core.solvers.methods import REFINED

Doubles = NDArray[np.float64]

PARAMETERS = {"shifts": (0, 1), "defocus": (2,), "rotation": (3,)}
LARGEST_STEP = np.array([0.5, 0.5, 20.0, 0.5])
"""Bounds of a change in one sweep: px, px, Å, degrees."""
WIDEST_SEARCH_PX = 6
"""Largest shift that the first correlation looks for."""
MOST_CORRELATIONS = 6
"""Largest number of refinements by correlation."""
COMMON_MOMENTUM = 0.7
"""Share of the last change of the mean rotation that is added to the next one. The volume follows a rotation
that all images share, as one of its tilt axis, so that each sweep sees only a few percent of it."""
FIRST_SWEEP = 2
"""Number of sweeps before the first refinement: the volume must show something."""
FIRST_ERROR_PX = 2.0
"""Standard error of shifts that the first correlation allows for."""
SMALL_ERROR_PX = 0.25
"""Standard error below which shifts are refined without correlation."""
WAVES_PER_ERROR = 4.0
"""Shortest wavelength in a correlation, in standard errors of the shifts: the phases of shorter waves are
ambiguous, and the volume does not show them yet."""
RESTART = np.array([0.1, 0.1, 5.0, 0.1])
"""A larger change of any parameter restarts the momentum."""


@dataclass(frozen=True, eq=False)
class ViewCorrections:
    """Corrections found for the images.

    Parameters
    ----------
    shift_px : ndarray of shape (n_images, 2), float64
        Displacement (x, y) of the content of each image.
    defocus_A : ndarray of shape (n_images,), float64
    rotation_deg : ndarray of shape (n_images,), float64
        Rotation of the content about the centre of the image, counter-clockwise.
    """

    shift_px: Doubles
    defocus_A: Doubles
    rotation_deg: Doubles


class ViewRefinement:
    """Refinement between two sweeps: compares every image with that of the current volume.

    At first large shifts are found by cross-correlation of the amplitudes √I and √Î: of long waves, then of
    shorter ones as the shifts become smaller, and the volume begins anew each time. Then a step of
    Gauss-Newton for the squared residual ‖√Î - √I‖² of each image changes shift, defocus and rotation
    together. Displacements that a shift of the whole specimen would cause as well are left out, so that it
    stays where the images were first aligned to. As far as the images differ by no more than the noise of the
    estimates explains, they get a common value; see `shrunk`.

    Parameters
    ----------
    misfit : PhaseContrastMisfit
        Its ``shift_px`` and ``defocus_A`` are changed, and its images where they are rotated.
    refined : iterable of {"shifts", "defocus", "rotation"}

    Raises
    ------
    UsageError
        If there is no such parameter.

    References
    ----------
    M. Guizar-Sicairos, S. T. Thurman, J. R. Fienup, Opt. Lett. 33, 156 (2008), doi:10.1364/OL.33.000156:
    correlation of images. J. Nocedal, S. Wright, Numerical Optimization (2006), section 10.3: Gauss-Newton.
    """

    def __init__(self, misfit: PhaseContrastMisfit, refined: Iterable[str]) -> None:
        names = tuple(refined)
        for name in names:
            check_choice("refinement", name, REFINED)
        self._misfit = misfit
        self._columns = np.array(sorted(c for name in names for c in PARAMETERS[name]), np.intp)
        self._original = misfit.images.copy() if "rotation" in names else misfit.images
        self._rotation_deg = np.zeros(len(misfit.images))
        self._first = self._parameters()
        self._error_px = FIRST_ERROR_PX if 0 in self._columns else 0.0
        self._correlations = 0
        self._common_turn_deg = 0.0

    @property
    def corrections(self) -> ViewCorrections:
        """The corrections found so far."""
        return ViewCorrections(
            self._misfit.shift_px.copy(), self._misfit.defocus_A.copy(), self._rotation_deg.copy()
        )

    @property
    def state(self) -> Doubles:
        """All that the refinement goes on from, for a reconstruction that is resumed."""
        numbers = [self._error_px, self._correlations, self._common_turn_deg]
        return np.concatenate([self._parameters().ravel(), numbers])

    @state.setter
    def state(self, state: Doubles) -> None:
        self._set_parameters(np.reshape(state[:-3], (-1, 4)))
        self._error_px, self._correlations = float(state[-3]), int(state[-2])
        self._common_turn_deg = float(state[-1])

    def __call__(self, sweep: int, volume: NDArray[np.float32]) -> bool:
        """Refine once; return whether the momentum should be restarted.

        Parameters
        ----------
        sweep : int
            Number of finished sweeps.
        volume : ndarray of shape ``misfit.shape``, float32
            Potential in V; set to 0 as long as large shifts are found.
        """
        if sweep < FIRST_SWEEP or not self._columns.size:
            return False
        misfit, correlate = self._misfit, self._error_px > SMALL_ERROR_PX
        before = self._parameters()
        found, variance = before.copy(), np.zeros(before.shape)

        def refine_tilt(k: int) -> None:
            with misfit.leaving_wave(volume, float(misfit.tilt_deg[k])) as leaving:
                for n in misfit.tilts[k]:
                    change, variance[n] = self._change_of(n, leaving, correlate=correlate)
                    found[n] += change

        for _ in ordered_map(refine_tilt, range(len(misfit.tilts)), threads=misfit.threads):
            pass
        total = found - self._first
        if 0 in self._columns:
            total[:, :2] -= self._common_shift(total[:, :2])
        for column in (0, 1) if correlate else self._columns:
            total[:, column] = shrunk(total[:, column], variance[:, column], limited=not correlate)
        if 3 in self._columns and not correlate:
            total[:, 3] += COMMON_MOMENTUM * self._common_turn_deg
            self._common_turn_deg = float(np.mean(self._first[:, 3] + total[:, 3] - before[:, 3]))
        self._set_parameters(self._first + total)
        if correlate:
            moved = self._parameters()[:, :2] - before[:, :2]
            self._error_px = float(np.sqrt(np.mean(moved**2)))
            self._correlations += 1
            if self._correlations == MOST_CORRELATIONS:
                self._error_px = 0.0
            if self._error_px > SMALL_ERROR_PX:
                volume[...] = 0  # it shows the images where they were
            return True
        return bool((np.abs(self._parameters() - before).max(axis=0) > RESTART).any())

    def _parameters(self) -> Doubles:
        """Return shift x and y, defocus and rotation of all images."""
        misfit = self._misfit
        return np.column_stack([misfit.shift_px, misfit.defocus_A, self._rotation_deg])

    def _set_parameters(self, parameters: Doubles) -> None:
        """Set them, and rotate the images."""
        self._misfit.shift_px[:] = parameters[:, :2]
        self._misfit.defocus_A[:] = parameters[:, 2]
        self._rotation_deg[:] = parameters[:, 3]
        if 3 in self._columns:
            for n, angle in enumerate(self._rotation_deg.tolist()):
                self._misfit.set_image(n, rotated_back(self._original[n], angle))

    def _change_of(self, n: int, leaving: LeavingWave, *, correlate: bool) -> tuple[Doubles, Doubles]:
        """Return the change of shift x and y, defocus and rotation of an image, and their variances."""
        misfit = self._misfit
        measured = np.sqrt(np.maximum(misfit.images[n], 0))
        change, step, variance = np.zeros(4), np.zeros(4), np.zeros(4)
        if correlate:
            predicted = np.abs(self._wave(n, leaving, change)[0])
            shortest_px = WAVES_PER_ERROR * self._error_px
            change[:2], variance[:2] = correlation_peak(
                measured - 1, predicted - 1, WIDEST_SEARCH_PX, shortest_px
            )
            return change, variance
        wave, slopes = self._wave(n, leaving, change)
        amplitude = np.abs(wave)
        jacobian = self._jacobian(wave, np.maximum(amplitude, 1e-6), slopes)
        normal = jacobian @ jacobian.T
        residual = (measured - amplitude).ravel()
        # a little damping, where an image hardly shows a parameter
        normal[np.diag_indices_from(normal)] *= 1.01
        inverse = np.linalg.pinv(normal, hermitian=True)
        step[self._columns] = inverse @ (jacobian @ residual)
        variance[self._columns] = np.diag(inverse) * np.mean(residual**2)
        return change + np.clip(step, -LARGEST_STEP, LARGEST_STEP), variance

    def _wave(
        self, n: int, leaving: LeavingWave, change: Doubles
    ) -> tuple[NDArray[np.complex64], list[NDArray[np.complex64]]]:
        """Return the wave in an image, and its derivatives by shift x, shift y and defocus."""
        misfit = self._misfit
        x, y = (misfit.shift_px[n] + change[:2]).tolist()
        spectrum = leaving.spectrum(float(misfit.defocus_A[n]), (x, y))
        grid = misfit.geometry.grid
        qx, qy = grid.frequencies_per_A
        factors = (
            -2j * np.pi * grid.pixel_A * qx,
            -2j * np.pi * grid.pixel_A * qy,
            -1j * np.pi * misfit.optics.wavelength_A * (qx**2 + qy**2),
        )
        slopes = [leaving.in_image(spectrum * factor.astype(np.complex64)) for factor in factors]
        return leaving.in_image(spectrum), slopes

    def _jacobian(
        self,
        wave: NDArray[np.complex64],
        amplitude: NDArray[np.float32],
        slopes: list[NDArray[np.complex64]],
    ) -> Doubles:
        """Return the derivatives of the amplitude by the refined parameters, (n_parameters, n_pixels)."""
        rows = [(wave.real * s.real + wave.imag * s.imag) / amplitude for s in slopes]
        x, y = (np.arange(n) - centre(n) for n in wave.shape)
        rows.append(np.deg2rad(1) * (x[:, np.newaxis] * rows[1] - y * rows[0]))
        return np.array([rows[c].ravel() for c in self._columns], np.float64)

    def _common_shift(self, shift_px: Doubles) -> Doubles:
        """Return the part of the shifts that a shift of the specimen by (x, y, z) would cause."""
        tilt = np.zeros(len(shift_px))
        for images, angle in zip(self._misfit.tilts, self._misfit.tilt_deg, strict=True):
            tilt[images] = np.deg2rad(angle)
        across = np.stack([np.cos(tilt), np.sin(tilt)], axis=1)
        x = across @ np.linalg.lstsq(across, shift_px[:, 0], rcond=None)[0]
        return np.stack([x, np.full(len(x), shift_px[:, 1].mean())], axis=1)


def shrunk(values: Doubles, variance: Doubles, *, limited: bool = True) -> Doubles:
    """Move estimates towards their mean as far as noise explains their differences.

    Parameters
    ----------
    values, variance : ndarray of shape (n,), float64
        Estimates and their variances.
    limited : bool
        Whether no value is moved by more than its standard error, since one image may differ from all others.

    Returns
    -------
    ndarray of shape (n,), float64
        m + τ² / (τ² + σ²) (v - m), where the variance τ² of the true values is that of the estimates less
        what their errors add.

    References
    ----------
    B. Efron, C. Morris, J. Am. Stat. Assoc. 67, 130 (1972), doi:10.1080/01621459.1972.10481215: estimators of
    limited translation.
    """
    middle = float(np.mean(values))
    spread = max(float(np.mean((values - middle) ** 2 - variance)), 0.0)
    move = (values - middle) * variance / np.maximum(spread + variance, 1e-30)
    error = np.sqrt(variance) if limited else np.inf
    return np.asarray(values - np.clip(move, -error, error))


def correlation_peak(
    measured: Doubles, predicted: Doubles, widest_px: int, shortest_px: float = 2.0
) -> tuple[Doubles, Doubles]:
    """Find the displacement of an image against another by their cross-correlation.

    Parameters
    ----------
    measured, predicted : ndarray of one shape, float
        Images [x, y] with a mean near 0.
    widest_px : int
        Largest displacement along an axis, in pixels.
    shortest_px : float
        Wavelength at which the weight of a spatial frequency has fallen to exp(-1/2), in pixels.

    Returns
    -------
    displacement, variance : ndarray of shape (2,), float64
        Displacement (x, y) of ``measured``, with the top of a parabola through the highest value and its
        neighbours; and its variance by white noise, which the difference of the images shows.
    """
    size = [n + 2 * widest_px for n in measured.shape]
    model = np.fft.rfft2(predicted, size)
    qx, qy = np.fft.fftfreq(size[0])[:, np.newaxis], np.fft.rfftfreq(size[1])
    weight = np.exp(-(qx**2 + qy**2) * shortest_px**2 / 2)
    product = np.fft.rfft2(measured, size) * model.conj() * weight
    correlation = np.fft.fftshift(np.fft.irfft2(product, size))
    middle = [n // 2 for n in size]
    near = correlation[tuple(slice(m - widest_px, m + widest_px + 1) for m in middle)]
    peak = np.array(np.unravel_index(int(np.argmax(near)), near.shape))
    at = peak.astype(np.float64) - widest_px
    for axis, index in enumerate(peak):
        if 0 < index < 2 * widest_px:
            line = np.take(near, peak[1 - axis], axis=1 - axis)
            low, top, high = line[index - 1 : index + 2]
            curvature = low - 2 * top + high
            at[axis] += (low - high) / (2 * curvature) if curvature < 0 else 0.0
    # the variance of a Fourier coefficient as if noise filled the padded image: padding correlates them
    noise = float(np.mean((measured - predicted) ** 2)) * model.shape[0] * size[1]
    # all coefficients count, but rfft2 leaves out nearly half of them
    squared = weight * np.abs(model) ** 2 * np.where(qy > 0, 2, 1) * (2 * np.pi) ** 2
    variance = [
        noise * float((weight * squared * q**2).sum()) / max(float((squared * q**2).sum()), 1e-30) ** 2
        for q in (qx, qy)
    ]
    return at, np.array(variance)


def rotated_back(image: NDArray[np.float32], rotation_deg: float) -> NDArray[np.float32]:
    """Rotate an image [x, y], whose content is rotated counter-clockwise, back about its centre."""
    c, s = np.cos(np.deg2rad(rotation_deg)), np.sin(np.deg2rad(rotation_deg))
    turn = np.array([[c, -s], [s, c]])  # where the pixel of the upright image is in the rotated one
    middle = np.array([centre(n) for n in image.shape])
    return np.asarray(
        ndimage.affine_transform(image, turn, middle - turn @ middle, order=3, mode="constant", cval=1.0),
        np.float32,
    )
