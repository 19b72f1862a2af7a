"""Typical specimens of electron tomography of materials: a catalyst particle and a needle."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import UsageError
from etcli.core.simulate.solids import Solid, Specimen, cone, ellipsoid, embed

Array = NDArray[np.float64]
Spheres = list[tuple[Array, float]]

SUPPORT, METAL = 1.0, 4.0  # densities of the catalyst
LAYERS = (0.3, 1.0, 0.5, 0.8)  # densities of the needle's layers, repeated in this order
PRECIPITATE = 1.6
SMALLEST = 16


def particle(size: int, rng: np.random.Generator) -> Specimen:
    """Create a catalyst particle: an irregular support with metal particles on its surface and inside.

    Parameters
    ----------
    size : int
        Edge of the field in pixels, at least 16; all lengths scale with it.
    rng : numpy.random.Generator
        Source of shape, positions and sizes.

    Returns
    -------
    Specimen
        Specimen with three densities, 0, `SUPPORT` and `METAL`. Its 15 to 40 metal spheres do not touch;
        their radii are 1.2 % to 3.5 % of the size. It stays 0.1 of the size away from the field's edge at
        every tilt.

    Raises
    ------
    UsageError
        When the size is below 16.
    """
    _check(size)
    radii = size * rng.uniform(0.24, 0.34, 3)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    support = ellipsoid((0, 0, 0), radii, density=SUPPORT, rotation=turn)
    for _ in range(6):
        facet = _direction(rng)
        support = support.cut(facet, high=rng.uniform(0.8, 0.95) * _surface(support, facet))
    solids, placed = [support], Spheres()
    for index in range(int(rng.integers(15, 41))):
        radius = size * rng.uniform(0.012, 0.035)
        while True:
            outwards = _direction(rng)
            surface = _surface(support, outwards)
            inside, above = 0.85 * np.cbrt(rng.uniform()) * surface, surface + radius * rng.uniform(-0.5, 0.6)
            position = outwards * (inside if index % 3 == 0 else above)
            if _is_free(position, radius, placed):
                break
        placed.append((position, radius))
        solids += embed([support], ellipsoid(position, radius, density=METAL))
    return Specimen(tuple(solids))


def needle(size: int, rng: np.random.Generator) -> Specimen:
    """Create a tapered needle along the tilt axis, with flat layers, a few voids and precipitates.

    Parameters
    ----------
    size : int
        Edge of the field in pixels, at least 16; all lengths scale with it.
    rng : numpy.random.Generator
        Source of the layers, their direction and the inclusions.

    Returns
    -------
    Specimen
        A cone with a round tip at 0.4 of the size above the centre, which continues below the field. Its
        layers, every other one thin, are perpendicular to z to within 26°, and so are straight lines in a
        slice perpendicular to the tilt axis.

    Raises
    ------
    UsageError
        When the size is below 16.
    """
    _check(size)
    radius, slope, tip = 0.2 * size, -0.12, 0.4 * size
    shaft, cap = _tapered(radius, slope, tip=tip, bottom=-1.5 * size)
    turn, lean = np.deg2rad(rng.uniform((-25, -4), (25, 4)))
    normal = np.array([np.sin(turn) * np.cos(lean), np.sin(lean), np.cos(turn) * np.cos(lean)])
    bounds = _layer_bounds(size, rng)
    layers = [
        replace(part.cut(normal, *bounds[index : index + 2]), density=LAYERS[index % len(LAYERS)])
        for part in (shaft, cap)
        for index in range(len(bounds) - 1)
    ]
    solids, placed = list(layers), Spheres()
    for index in range(int(rng.integers(6, 13))):
        radii = size * rng.uniform(0.012, 0.035, 3)
        while True:
            y, angle = rng.uniform(-0.45 * size, tip - radius), rng.uniform(0, 2 * np.pi)
            largest_off_axis = radius + slope * y - 1.2 * radii.max()
            off_axis = largest_off_axis * np.sqrt(rng.uniform())
            position = np.array([off_axis * np.cos(angle), y, off_axis * np.sin(angle)])
            if _is_free(position, radii.max(), placed):
                break
        placed.append((position, radii.max()))
        solids += embed(layers, ellipsoid(position, radii, density=PRECIPITATE if index % 2 else 0.0))
    return Specimen(tuple(solids))


def _check(size: int) -> None:
    """Raise UsageError if the size is too small for a specimen."""
    if size < SMALLEST:
        raise UsageError(f"a specimen of {size} px shows nothing; use a size of at least {SMALLEST} px")


def _direction(rng: np.random.Generator) -> Array:
    """Draw a direction from the uniform distribution on the sphere."""
    vector = rng.normal(size=3)
    return vector / float(np.linalg.norm(vector))


def _surface(body: Solid, direction: Array) -> float:
    """Return the distance from the centre to the surface along a direction, for a body at the centre."""
    distances = [1 / np.sqrt(direction @ quadric[:3, :3] @ direction) for quadric in body.quadrics]
    distances += [high / (normal @ direction) for normal, _, high in body.plates if normal @ direction > 0]
    return float(min(distances))


def _is_free(middle: Array, radius: float, placed: Spheres) -> bool:
    """Check whether a sphere keeps a distance of half its radius from those placed before."""
    return all(
        np.linalg.norm(middle - placed_middle) > 1.5 * radius + placed_radius
        for placed_middle, placed_radius in placed
    )


def _tapered(radius: float, slope: float, *, tip: float, bottom: float) -> tuple[Solid, Solid]:
    """Return a cone and the spherical cap that continues it smoothly to the tip, cut where they join."""
    stretch = np.sqrt(1 + slope**2)
    cap_radius = (radius + slope * tip) / (stretch + slope)
    middle = tip - cap_radius
    seam = middle - slope * cap_radius / stretch
    cap = ellipsoid((0, middle, 0), cap_radius).cut((0, 1, 0), low=seam)
    return cone(radius, slope, bottom=bottom, top=seam), cap


def _layer_bounds(size: int, rng: np.random.Generator) -> list[float]:
    """Draw the bounds of the layers along their normal; the outermost layers are unbounded."""
    bounds = [-np.inf]
    position = -0.19 * size
    while position < 0.19 * size:
        bounds.append(position)
        thick = len(bounds) % 2
        position += size * (rng.uniform(0.05, 0.1) if thick else rng.uniform(0.012, 0.03))
    return [*bounds, np.inf]
