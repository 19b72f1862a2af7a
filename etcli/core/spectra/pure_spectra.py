"""Spectra of single elements and of the background, as a detector records them.

References
----------
.. [1] H. A. Kramers, Phil. Mag. 46, 836 (1923), doi:10.1080/14786442308565244: bremsstrahlung.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from etcli.core.spectra.detector import Detector, EnergyAxis
from etcli.core.spectra.x_ray_lines import FAMILIES, XRayLine, x_ray_lines

Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PureSpectrum:
    """Expected counts of one family of lines of one element, or of several families together.

    Parameters
    ----------
    element : str
        Chemical symbol.
    family : str
        K, L or M, or several as in K+L.
    main : XRayLine
        The strongest line.
    counts : ndarray of shape (n_channels,), float64
        Relative to those of other elements and families as `x_ray_lines` has them.
    main_lines : tuple of XRayLine
        The strongest line of each family.
    """

    element: str
    family: str
    main: XRayLine
    counts: Doubles
    main_lines: tuple[XRayLine, ...] = ()

    @property
    def strength(self) -> float:
        """Counts in all channels."""
        return float(self.counts.sum())

    @property
    def name(self) -> str:
        """Name for tables, such as Ni K."""
        return f"{self.element} {self.family}"


def element_spectra(
    element: str, axis: EnergyAxis, detector: Detector, *, beam_kV: float = 200.0
) -> list[PureSpectrum]:
    """Compute the spectra of an element, one for each family of lines.

    Lines of a family have the strengths of `x_ray_lines`, times the efficiency of the detector.

    Parameters
    ----------
    element : str
        Chemical symbol.
    axis : EnergyAxis
    detector : Detector
    beam_kV : float
        Accelerating voltage.

    Returns
    -------
    list of PureSpectrum
        Families whose strongest line is within the axis.

    Raises
    ------
    UsageError
        When the element does not exist or has no lines.
    """
    energy_keV, found = axis.energy_keV, []
    lines = x_ray_lines(element, beam_kV=beam_kV)
    for family in FAMILIES:
        own = [line for line in lines if line.family == family]
        strength = np.array([line.strength for line in own]) * detector.efficiency(
            [line.energy_keV for line in own]
        )
        if not own or not strength.any():
            continue
        main = own[int(strength.argmax())]
        if energy_keV[0] < main.energy_keV < energy_keV[-1]:
            counts = detector.response(axis, [line.energy_keV for line in own], strength)
            found.append(PureSpectrum(element, family, main, counts, (main,)))
    return found


def joined(spectra: list[PureSpectrum], weights: Doubles) -> PureSpectrum:
    """Join families of one element into one spectrum.

    Parameters
    ----------
    spectra : list of PureSpectrum
        Of one element.
    weights : ndarray of shape (n,), float64
        Factor of each.

    Returns
    -------
    PureSpectrum
        Its main line is that of the family with the most counts.
    """
    most = spectra[int(np.argmax([w * one.strength for w, one in zip(weights, spectra, strict=True)]))]
    counts = sum(w * one.counts for w, one in zip(weights, spectra, strict=True))
    families = dict.fromkeys(one.family for one in spectra)
    lines = dict.fromkeys(line for one in spectra for line in one.main_lines)
    return replace(most, family="+".join(families), counts=np.asarray(counts), main_lines=tuple(lines))


def bremsstrahlung(axis: EnergyAxis, detector: Detector, *, beam_kV: float = 200.0) -> Doubles:
    """Compute the spectrum of bremsstrahlung of a thin specimen: (E0 − E)/E [1]_ times the efficiency.

    Parameters
    ----------
    axis : EnergyAxis
    detector : Detector
    beam_kV : float
        Accelerating voltage, which gives E0.

    Returns
    -------
    ndarray of shape (n_channels,), float64
        With the sum 1.
    """
    energy = np.maximum(axis.energy_keV, 0.05)
    shape = np.maximum(beam_kV - energy, 0) / energy * detector.efficiency(energy)
    return np.asarray(shape / shape.sum())
