"""Specimens of several elements for spectral tomography: particles, a needle, a film, and six elements."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etcli.core.elements import NUMBERS
from etcli.core.errors import UsageError
from etcli.core.simulate.elemental import ElementalSpecimen, Linear, Part
from etcli.core.simulate.shapes import box, cylinder, rotation
from etcli.core.simulate.solids import Solid, ellipsoid

Array = NDArray[np.float64]
Amount = float | tuple[float, float]
"""Density, or density in the middle and its increase per pixel along the own x of a body."""
SMALLEST = 24
HAADF_EXPONENT = 1.7
"""Power of the atomic number to which the dark-field signal is proportional: 1.5 to 2, by the detector."""


def haadf_weights(elements: tuple[str, ...]) -> Array:
    """Return the dark-field signal of an atom of each element, relative to one of the first element.

    References
    ----------
    O. L. Krivanek et al., Nature 464, 571 (2010), doi:10.1038/nature08879: exponents.
    """
    numbers = np.array([NUMBERS[element] for element in elements], np.float64)
    return np.asarray((numbers / numbers[0]) ** HAADF_EXPONENT)


class _Builder:
    """Parts of a specimen that is described in pixels of a field of a given width, for another width."""

    def __init__(self, size: int, *, width: int) -> None:
        if size < SMALLEST:
            raise UsageError(f"a specimen of {size} px shows nothing; use a size of at least {SMALLEST} px")
        self.scale = size / width
        self.parts: list[Part] = []

    def add(
        self,
        make: Callable[..., Solid],
        middle: tuple[float, float, float],
        half: tuple[float, float, float],
        axes: ArrayLike | None = None,
        **content: Amount,
    ) -> None:
        """Add a body; its content is named by elements."""
        turn = np.eye(3) if axes is None else np.asarray(axes, np.float64)
        name = "rotation" if make is ellipsoid else "axes"
        centre_px = self.scale * np.array(middle)
        body = make(centre_px, self.scale * np.array(half), **{name: turn})
        found = {}
        for element, amount in content.items():
            density, slope = amount if isinstance(amount, tuple) else (amount, 0.0)
            found[element] = Linear.along(centre_px, turn[:, 0], density, slope / self.scale)
        self.parts.append(Part(body, found))

    def specimen(self, elements: tuple[str, ...], shape: tuple[int, int, int]) -> ElementalSpecimen:
        """Return the specimen, whose volume has the given shape at the width of the description."""
        nz, ny, nx = (round(self.scale * n) for n in shape)
        return ElementalSpecimen(elements, tuple(self.parts), (nz, ny, nx))


def particles(size: int = 72) -> ElementalSpecimen:
    """Create particles of Ni, Co, Pt and a little Cr, with boundaries that only spectra show.

    A nickel core in a platinum shell, an alloy from nickel to cobalt along its length, cobalt with a void and
    a zone with 6 % of chromium (0.3 % of all atoms), a box of cobalt in one of nickel, and an oblique wire
    of platinum. Cobalt is so dense that it is as bright in dark field as nickel.

    Parameters
    ----------
    size : int
        Width of the field in pixels; the volume is 56/72 of it high and 44/72 of it thick.

    Returns
    -------
    ElementalSpecimen
    """
    weights = dict(zip(("Ni", "Co", "Cr"), haadf_weights(("Ni", "Co", "Cr")), strict=True))
    cobalt, chromium = float(1 / weights["Co"]), 0.06
    make = _Builder(size, width=72)
    make.add(ellipsoid, (-16, 11, 2), (10, 9.5, 10), Pt=0.7)
    make.add(ellipsoid, (-16, 11, 2), (7, 6.5, 7), Pt=-0.7, Ni=1.0)
    make.add(
        ellipsoid,
        (11, 12, -3),
        (13, 8.5, 9),
        rotation(y_deg=-15, z_deg=20),
        Ni=(0.5, 0.032),
        Co=(0.5 * cobalt, -0.032 * cobalt),
    )
    make.add(ellipsoid, (-13, -12, -3), (14, 9.5, 9), Co=cobalt)
    make.add(ellipsoid, (-20, -12, -4), (4, 4.5, 5), Co=-cobalt)
    replaced = float(chromium * weights["Cr"] * cobalt)
    make.add(ellipsoid, (-8, -12, -2), (6, 6, 6), Cr=chromium, Co=-replaced)
    turn = rotation(y_deg=30, z_deg=-12)
    make.add(box, (14, -13, 3), (8.5, 8, 8), turn, Ni=1.0)
    make.add(box, (14, -13, 3), (4.5, 5, 4.5), turn, Ni=-1.0, Co=cobalt)
    make.add(cylinder, (1, 0, 12), (2.5, 2.5, 11), rotation(x_deg=-30, y_deg=60), Pt=0.7)
    return make.specimen(("Ni", "Co", "Pt", "Cr"), (44, 56, 72))


def needle(size: int = 72) -> ElementalSpecimen:
    """Create a needle of silica along the tilt axis, with particles of Ni, Co, Ni in Pt, and Co-Ni-Cr.

    Parameters
    ----------
    size : int
        Width of the field in pixels; the needle is longer than the field.

    Returns
    -------
    ElementalSpecimen
        Silicon and oxygen have one map, up to a factor.
    """
    make = _Builder(size, width=48)
    silica = {"Si": -0.25, "O": -0.5}
    make.add(cylinder, (0, 0, 0), (14, 12.5, 40), rotation(x_deg=90), Si=0.25, O=0.5)
    make.add(ellipsoid, (-5, 13, 2), (6, 5, 5.5), Ni=1.0, **silica)
    make.add(ellipsoid, (5, 4, -3), (6, 5, 5), rotation(z_deg=25), Co=1.0, **silica)
    make.add(ellipsoid, (-4, -6, 1), (6, 5.5, 6), Pt=0.7, **silica)
    make.add(ellipsoid, (-4, -6, 1), (4, 3.5, 4), Pt=-0.7, Ni=1.0)
    make.add(ellipsoid, (4, -16, 0), (7, 4.5, 5.5), Co=0.5, Ni=0.42, Cr=0.08, **silica)
    return make.specimen(("Ni", "Co", "Pt", "Cr", "Si", "O"), (32, 48, 48))


def film(size: int = 72) -> ElementalSpecimen:
    """Create a film of titania that fills the field at every tilt, with particles of Pd and Au in and on it.

    Parameters
    ----------
    size : int
        Width of the field in pixels.

    Returns
    -------
    ElementalSpecimen
        Of Pd, Au and Ti; the oxygen of the film is not part of it.
    """
    make = _Builder(size, width=72)
    make.add(box, (0, 0, -6), (1500, 1500, 5), rotation(y_deg=2), Ti=0.45)
    make.add(ellipsoid, (-17, 12, 6), (8, 8, 7), Au=0.85)
    make.add(ellipsoid, (-17, 12, 6), (5, 5, 4), Au=-0.85, Pd=1.0)
    make.add(ellipsoid, (14, 13, 7), (11, 7, 7), rotation(z_deg=-30), Pd=(0.5, 0.04), Au=(0.43, -0.034))
    make.add(box, (15, -13, 6), (7, 8, 6), rotation(z_deg=35), Pd=1.0)
    make.add(ellipsoid, (-13, -12, -6), (6, 7, 4), Au=0.85, Ti=-0.45)
    make.add(ellipsoid, (2, -1, -6.5), (4, 4, 3.5), Ti=-0.45)
    return make.specimen(("Pd", "Au", "Ti"), (48, 60, 72))


def alloys(size: int = 72) -> ElementalSpecimen:
    """Create particles of six elements: Fe, Co, Cu, Ag, Au and a little Ti.

    An alloy from iron to cobalt along its length, a particle of copper and, in one half, gold, a box of
    silver around gold, a rod of copper in a shell of iron, and titanium in one end of a ball of cobalt.

    Parameters
    ----------
    size : int
        Width of the field in pixels; the volume is as high as that, and two thirds as thick.

    Returns
    -------
    ElementalSpecimen
    """
    make = _Builder(size, width=72)
    make.add(ellipsoid, (-15, 19, 3), (14, 10, 9), rotation(z_deg=-15), Fe=(0.5, 0.03), Co=(0.52, -0.031))
    make.add(ellipsoid, (16, 20, -2), (10, 9, 9), Cu=1.0)
    right = rotation(y_deg=30)
    make.parts.append(_half_replaced(make, (16, 20, -2), (10, 9, 9), right, {"Cu": -1.0, "Au": 0.7}))
    turn = rotation(y_deg=20, z_deg=25)
    make.add(box, (15, -5, 2), (9, 8, 8), turn, Ag=0.7)
    make.add(ellipsoid, (15, -5, 2), (5, 5, 5), Ag=-0.7, Au=0.7)
    lean = rotation(x_deg=-70, y_deg=10)
    make.add(cylinder, (-16, -7, -4), (7, 6, 11), lean, Fe=1.0)
    make.add(cylinder, (-16, -7, -4), (4, 3.5, 9), lean, Fe=-1.0, Cu=1.0)
    make.add(ellipsoid, (4, -25, 2), (12, 7, 8), Co=1.0)
    make.add(ellipsoid, (10, -25, 2), (4.5, 4.5, 4.5), Co=-0.08, Ti=0.1)
    return make.specimen(("Fe", "Co", "Cu", "Ag", "Au", "Ti"), (48, 72, 72))


def _half_replaced(
    make: _Builder,
    middle: tuple[float, float, float],
    half: tuple[float, float, float],
    axes: Array,
    content: dict[str, float],
) -> Part:
    """Return a part that changes the content of an ellipsoid on one side of its middle."""
    centre_px, normal = make.scale * np.array(middle), axes[:, 0]
    whole = ellipsoid(centre_px, make.scale * np.array(half))
    side = whole.cut(normal, low=float(normal @ centre_px))
    return Part(side, {element: Linear(density) for element, density in content.items()})


SPECIMENS: dict[str, Callable[[int], ElementalSpecimen]] = {
    "particles": particles,
    "needle": needle,
    "film": film,
    "alloys": alloys,
}
"""Specimens by the names that users give."""
