"""Simulated series of several detectors: dark field, X-ray maps or spectrum images at some of its tilts."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from etcli.core.elements import NUMBERS
from etcli.core.errors import UsageError
from etcli.core.parallel import ordered_map
from etcli.core.simulate.acquisition import AcquisitionErrors, CountingNoise, GroundTruth, draw_truth
from etcli.core.simulate.elemental import ElementalSpecimen
from etcli.core.simulate.elemental_specimens import haadf_weights
from etcli.core.simulate.imaging import ViewGeometry
from etcli.core.spectra.detector import Detector, EnergyAxis
from etcli.core.spectra.pure_spectra import bremsstrahlung, element_spectra

Array = NDArray[np.float64]
Images = NDArray[np.float32]

SHADOW_DEG = 40.0
"""Tilt within which a shadow on the detector recedes from its depth to 1/e of it."""
BACKGROUND = 0.1
"""Bremsstrahlung between 5 and 7 keV for each count in the lines of the first element: one count in 10 eV for
about a thousand in Ni Kα, as real detectors have."""
BACKGROUND_keV = (5.0, 7.0)
HOLDER = "Cu"
VOLTAGE_kV = 200.0


@dataclass(frozen=True)
class SpectralDose:
    """Counts of a simulation of several detectors, and what changes them from view to view.

    Parameters
    ----------
    haadf_counts : float
        Counts in dark field of a voxel of the first element, at density 1.
    haadf_noise : float
        Standard deviation of the detector's own noise, in counts.
    counts : float
        X-ray counts of a voxel of the first element in all its lines, at density 1.
    stray : float
        Counts of copper from the holder in every pixel of spectrum images, relative to `counts`.
    shadow : float
        Part of the counts that the holder hides from the X-ray detector at the lowest tilt.
    gain_spread : float
        Relative standard deviation of beam current times live time from view to view.
    noise : bool
        Whether counts are drawn; otherwise they are the expected ones.
    """

    haadf_counts: float = 50.0
    haadf_noise: float = 5.0
    counts: float = 0.2
    stray: float = 0.3
    shadow: float = 0.0
    gain_spread: float = 0.0
    noise: bool = True

    def check(self) -> None:
        """Check the numbers; raise UsageError for impossible ones."""
        positive = {"haadf_counts": self.haadf_counts, "counts": self.counts}
        others = {"haadf_noise": self.haadf_noise, "stray": self.stray, "gain_spread": self.gain_spread}
        for name, value in (positive | others).items():
            if not 0 <= value < np.inf or (name in positive and value == 0):
                kind = "positive" if name in positive else "zero or positive"
                raise UsageError(f"{name.replace('_', '-')} {value}: give a {kind} number")
        if not 0 <= self.shadow < 1:
            raise UsageError(
                f"shadow {self.shadow}: is a part of the counts; give a number from 0 to below 1"
            )

    def gain(self, tilt_deg: float, lowest_deg: float, rng: np.random.Generator) -> float:
        """Draw the X-ray counts of a view relative to those without shadow, at the mean current."""
        shadowed = self.shadow * np.exp(-(((tilt_deg - lowest_deg) / SHADOW_DEG) ** 2))
        return float((1 - shadowed) * np.exp(self.gain_spread * rng.standard_normal()))


@dataclass(frozen=True, eq=False)
class SpectralTruth:
    """True parameters of a simulation of several detectors.

    Parameters
    ----------
    geometry : GroundTruth
        Of all views of the dark-field series.
    elements : tuple of str
    map_views : ndarray of shape (n_maps,), intp
        The views at which X-rays were counted, from 0.
    gain : ndarray of shape (n_maps,), float64
        X-ray counts of each of these views, relative to those without shadow at the mean current.
    sensitivity : ndarray of shape (n_elements,), float64
        Counts of a voxel of density 1 in all lines of an element, at gain 1.
    haadf_counts : ndarray of shape (n_elements,), float64
        Counts of such a voxel in dark field.
    """

    geometry: GroundTruth
    elements: tuple[str, ...]
    map_views: NDArray[np.intp]
    gain: Array
    sensitivity: Array
    haadf_counts: Array

    def as_dict(self) -> dict[str, Any]:
        """Return the parameters as plain numbers and lists, for JSON."""
        return self.geometry.as_dict() | {
            "elements": list(self.elements),
            "map_views": (self.map_views + 1).tolist(),
            "map_tilt_deg": self.geometry.tilt_deg[self.map_views].tolist(),
            "gain": self.gain.tolist(),
            "sensitivity": dict(zip(self.elements, self.sensitivity.tolist(), strict=True)),
            "haadf_counts": dict(zip(self.elements, self.haadf_counts.tolist(), strict=True)),
        }


class SpectralSeries(NamedTuple):
    """Simulated series: dark field, and X-ray counts at some of its views.

    Parameters
    ----------
    haadf : ndarray of shape (n_views, ny, nx), float32
        Counts.
    counts : ndarray
        Of maps (n_elements, n_maps, ny, nx), or of spectrum images (n_maps, ny, nx, n_channels).
    truth : SpectralTruth
    """

    haadf: Images
    counts: NDArray[Any]
    truth: SpectralTruth


@dataclass(frozen=True, eq=False)
class SpectrumModel:
    """Expected spectra of a specimen.

    Parameters
    ----------
    elements : ndarray of shape (n_elements, n_channels), float64
        Counts of a voxel of density 1.
    background : ndarray of shape (n_elements, n_channels), float64
        Bremsstrahlung of such a voxel.
    stray : ndarray of shape (n_channels,), float64
        Counts from the holder in a pixel.
    """

    elements: Array
    background: Array
    stray: Array

    @classmethod
    def of(cls, elements: tuple[str, ...], dose: SpectralDose, axis: EnergyAxis) -> "SpectrumModel":
        """Compute the spectra of elements in the channels of a detector."""
        detector = Detector()
        lines = np.stack([_all_lines(element, axis, detector) for element in elements])
        unit = dose.counts / lines[0].sum()
        continuum, energy = bremsstrahlung(axis, detector, beam_kV=VOLTAGE_kV), axis.energy_keV
        window = (energy > BACKGROUND_keV[0]) & (energy < BACKGROUND_keV[1])
        if not window.any():
            raise UsageError("the channels end below 7 keV, where the background is given; use more of them")
        continuum *= dose.counts * BACKGROUND / continuum[window].sum()
        numbers = np.array([NUMBERS[element] for element in elements], np.float64)
        stray = _all_lines(HOLDER, axis, detector)
        return cls(
            unit * lines,
            np.outer(numbers / numbers[0], continuum),
            dose.counts * dose.stray * stray / stray.sum(),
        )

    @property
    def sensitivity(self) -> Array:
        """Counts of a voxel of density 1 in all lines of each element."""
        return np.asarray(self.elements.sum(axis=1))

    def expected(self, lines: Images) -> Array:
        """Return the spectra (n_pixels, n_channels) for line integrals (n_elements, n_pixels)."""
        return np.asarray(lines.T.astype(np.float64) @ (self.elements + self.background) + self.stray)


def record_spectral(
    specimen: ElementalSpecimen,
    tilt_deg: Array,
    map_views: NDArray[np.intp],
    *,
    axis: EnergyAxis,
    dose: SpectralDose,
    errors: AcquisitionErrors,
    rng: np.random.Generator,
    margin_px: int = 0,
    spectra: bool = False,
    threads: int = 1,
) -> SpectralSeries:
    """Record a dark-field series, and the X-rays of some of its views.

    Parameters
    ----------
    specimen : ElementalSpecimen
    tilt_deg : ndarray of shape (n_views,), float64
        Nominal tilt angles in degrees.
    map_views : ndarray of shape (n_maps,), intp
        The views at which X-rays are counted, from 0; they are displaced as those of the dark field.
    axis : EnergyAxis
        Channels of the X-ray detector.
    dose : SpectralDose
    errors : AcquisitionErrors
    rng : numpy.random.Generator
        Every view has generators of its own, spawned from this one, which draw the same numbers whatever the
        sizes of the errors.
    margin_px : int
        Pixels on each side of the views beyond the volume.
    spectra : bool
        Whether spectrum images are recorded, not a map of all counts of each element.
    threads : int
        Views computed at the same time; the result does not depend on it.

    Returns
    -------
    SpectralSeries

    Raises
    ------
    UsageError
        When a number is out of range, or an element has no lines in the channels.
    """
    dose.check()
    generators = rng.spawn(len(tilt_deg))
    geometry = draw_truth(tilt_deg, generators, errors=errors, noise=CountingNoise())
    own = [generator.spawn(2 + len(specimen.elements)) for generator in generators]
    lowest_deg = float(np.min(tilt_deg))
    gain = np.array([dose.gain(tilt_deg[k], lowest_deg, own[k][1]) for k in map_views])
    place_of = {k: place for place, k in enumerate(map_views.tolist())}
    weights = dose.haadf_counts * haadf_weights(specimen.elements)
    model = SpectrumModel.of(specimen.elements, dose, axis)
    ny, nx = (n + 2 * margin_px for n in specimen.shape[1:])
    detectors = _Detectors(dose, weights, model, spectra)

    def view(k: int) -> Images:
        x, y = geometry.shift_px[k].tolist()
        seen = ViewGeometry.of(
            geometry.tilt_deg[k],
            (x, y),
            axis_deg=errors.axis_deg,
            axis_offset_px=errors.axis_offset_px,
        )
        lines = specimen.project(seen, (ny, nx))
        if k in place_of:
            counts[place_of[k]] = detectors.counts(lines, gain[place_of[k]], own[k][2:])
        return detectors.haadf(lines, own[k][0])

    counts = np.empty((len(map_views), *detectors.shape(ny, nx)), detectors.kind)
    haadf = np.stack(list(ordered_map(view, range(len(tilt_deg)), threads=threads)))
    truth = SpectralTruth(geometry, specimen.elements, map_views, gain, model.sensitivity, weights)
    return SpectralSeries(haadf, counts if spectra else counts.swapaxes(0, 1), truth)


@dataclass(frozen=True, eq=False)
class _Detectors:
    """What the detectors count for the line integrals of a view, (n_elements, ny, nx)."""

    dose: SpectralDose
    haadf_counts: Array
    model: SpectrumModel
    spectra: bool

    @property
    def kind(self) -> type[np.generic]:
        """Type of the counts of X-rays."""
        return np.uint16 if self.spectra and self.dose.noise else np.float32

    def shape(self, ny: int, nx: int) -> tuple[int, ...]:
        """Shape of the counts of X-rays of a view."""
        n_elements, n_channels = self.model.elements.shape
        return (ny, nx, n_channels) if self.spectra else (n_elements, ny, nx)

    def haadf(self, lines: Images, rng: np.random.Generator) -> Images:
        """Return a dark-field view with counting noise and that of the detector."""
        expected = np.tensordot(self.haadf_counts, lines, 1)
        if not self.dose.noise:
            return np.asarray(expected, np.float32)
        counted = rng.poisson(np.maximum(expected, 0))
        return np.asarray(counted + rng.normal(0, self.dose.haadf_noise, expected.shape), np.float32)

    def counts(self, lines: Images, gain: float, generators: list[np.random.Generator]) -> NDArray[Any]:
        """Return maps (n_elements, ny, nx), or a spectrum image (ny, nx, n_channels) row by row."""
        if not self.spectra:
            expected = gain * self.model.sensitivity[:, None, None] * lines
            pairs = zip(expected, generators, strict=True)
            return np.stack([self._drawn(one, rng) for one, rng in pairs])
        _, ny, nx = lines.shape
        image = np.empty(self.shape(ny, nx), self.kind)
        for y in range(ny):
            image[y] = self._drawn(gain * self.model.expected(lines[:, y]), generators[0])
        return image

    def _drawn(self, expected: Array, rng: np.random.Generator) -> NDArray[Any]:
        """Return counts drawn about expected ones, or these."""
        return (rng.poisson(np.maximum(expected, 0)) if self.dose.noise else expected).astype(self.kind)


def _all_lines(element: str, axis: EnergyAxis, detector: Detector) -> Array:
    """Return the spectrum of all lines of an element; raise UsageError where there are none."""
    families = element_spectra(element, axis, detector, beam_kV=VOLTAGE_kV)
    if not families:
        raise UsageError(f"{element} has no X-ray lines in the channels; use more of them")
    return np.asarray(sum(family.counts for family in families))
