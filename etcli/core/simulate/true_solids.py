"""True sizes and places of the bodies of a simulated specimen."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from etcli.core.geometry import centre
from etcli.core.simulate.solids import Solid, Specimen

DECIMALS = 6
"""Of all numbers, so that they are the same on every machine."""


def true_solids(specimen: Specimen, size: int, *, pixel_A: float) -> list[dict[str, float]]:
    """Return the bodies that lie wholly inside a cubic field, with the names and units of ``measure``.

    Parameters
    ----------
    specimen : Specimen
    size : int
        Edge of the field in pixels.
    pixel_A : float
        Pixel size in Å.

    Returns
    -------
    list of dict
        For each solid of positive density, in the order of the specimen: ``density``, ``volume_nm3``,
        ``eq_diameter_nm``, and its centre of mass ``x_nm``, ``y_nm``, ``z_nm`` from the rotation centre. A
        body counts whole where others, which come later, are embedded in it.
    """
    bodies = []
    pixel_nm = pixel_A / 10
    for solid in specimen.solids:
        if solid.density <= 0 or max(-solid.low.min(), solid.high.max()) > size / 2:
            continue
        volume_px3, middle_px = _extent(solid, size)
        if not volume_px3:  # planes may cut all of it, though not of its box
            continue
        volume_nm3 = volume_px3 * pixel_nm**3
        values = {
            "density": solid.density,
            "volume_nm3": volume_nm3,
            "eq_diameter_nm": float(np.cbrt(6 * volume_nm3 / np.pi)),
            **dict(zip(("x_nm", "y_nm", "z_nm"), (middle_px * pixel_nm).tolist(), strict=True)),
        }
        bodies.append({name: round(value, DECIMALS) + 0.0 for name, value in values.items()})
    return bodies


def _extent(solid: Solid, size: int) -> tuple[float, NDArray[np.float64]]:
    """Return the volume and the centre (x, y, z): of an ellipsoid from its equation, else from voxels."""
    if len(solid.quadrics) == 1 and not solid.plates:
        (quadric,) = solid.quadrics
        form = quadric[:3, :3]
        middle = np.asarray(-np.linalg.solve(form, quadric[:3, 3]), np.float64)
        reach = middle @ form @ middle - quadric[3, 3]
        return float(4 / 3 * np.pi * np.sqrt(reach**3 / np.linalg.det(form))), middle
    place = np.arange(size) - centre(size)
    mass, moments = 0.0, np.zeros(3)
    for z, section in zip(place, Specimen((replace(solid, density=1.0),)).sections((size,) * 3), strict=True):
        rows, columns = section.sum(axis=1, dtype=np.float64), section.sum(axis=0, dtype=np.float64)
        total = float(rows.sum())
        mass += total
        moments += [columns @ place, rows @ place, z * total]
    return mass, moments / (mass or 1.0)
