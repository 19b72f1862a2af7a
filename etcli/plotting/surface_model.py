"""Pictures of surfaces: from an angle, or as they turn about the tilt axis."""

from collections.abc import Iterator

import numpy as np
from matplotlib import rcParams
from matplotlib.figure import Figure
from numpy.typing import NDArray

from etcli.core.surfaces.mesh import Mesh
from etcli.core.surfaces.shading import SurfaceScene, shaded_surface
from etcli.plotting.ball_model import MARGIN, MOVIE_PX, oblique, show_directions, turned_about_y
from etcli.plotting.style import TALLEST_IN, USUAL, Page, PixelScale, scale_bar, styled
from etcli.plotting.turning import turning_angles

SIDE_IN = 6.0
FOOT = 0.14
"""Height of the strip with the scale bar and the directions, relative to the longer side of the surface."""


@styled
def surface_model(mesh: Mesh, *, page: Page = USUAL) -> Figure:
    """Draw a surface from an angle, with a scale bar and the directions of x, y and z.

    Parameters
    ----------
    mesh : Mesh
        In Å, or in px where the pixel size is unknown.
    page : Page
        Size of the picture.

    Returns
    -------
    matplotlib.figure.Figure
    """
    matrix = oblique()
    scene = SurfaceScene.of(mesh).turned(matrix)
    low, high = scene.position[:, :2].min(axis=0), scene.position[:, :2].max(axis=0)
    margin = MARGIN * float((high - low).max())
    width, height = (float(side) + 2 * margin for side in high - low)
    # room below for the bar and the directions
    foot = FOOT * max(width, height)
    inch = min(
        (page.width_in or SIDE_IN) / width, (page.height_in or min(SIDE_IN, TALLEST_IN)) / (height + foot)
    )
    figure = page.figure(inch * width, inch * (height + foot))
    across_in, up_in = (float(side) for side in figure.get_size_inches())
    pixel = 1 / (inch * float(rcParams["figure.dpi"]))
    shape = max(1, round(up_in / inch / pixel)), max(1, round(across_in / inch / pixel))
    middle = (float((low + high)[0]) / 2, float((low + high)[1] - foot) / 2)
    picture = shaded_surface(scene, shape=shape, pixel=pixel, middle=middle)
    axes = figure.add_axes((0, 0, 1, 1))
    scale = PixelScale.of(shape[1], pixel if mesh.unit == "A" else None)
    sides = shape[1] * scale.step, shape[0] * scale.step
    axes.imshow(
        (255 * picture).round().astype(np.uint8),
        extent=(0, sides[0], 0, sides[1]),
        aspect="auto",
        interpolation="none",
    )
    axes.set_axis_off()
    scale_bar(axes, shape[1], scale, on_white=True)
    foot_in = inch * foot
    corner = figure.add_axes((0, 0, foot_in / across_in, foot_in / up_in))
    corner.set_axis_off()
    show_directions(corner, matrix, at=(0.45, 0.32), length=0.45)
    return figure


def turning_surface(mesh: Mesh, *, step_deg: float) -> Iterator[NDArray[np.float32]]:
    """Yield pictures of a surface during one full rotation about the tilt axis.

    Parameters
    ----------
    mesh : Mesh
    step_deg : float
        Angle between two pictures.

    Yields
    ------
    ndarray of shape (ny, nx, 3), float32
        Red, green and blue from 0 to 1, row 0 at the bottom; the first at tilt angle 0.
    """
    scene, pixel = SurfaceScene.of(mesh), turning_pixel(mesh)
    half = _half_width(scene)
    low, high = float(scene.position[:, 1].min()), float(scene.position[:, 1].max())
    edge = MARGIN * half
    shape = (max(1, round((high - low + 2 * edge) / pixel)), max(1, round(2 * half / pixel)))
    for angle_deg in turning_angles(step_deg):
        yield shaded_surface(
            scene.turned(turned_about_y(float(angle_deg))),
            shape=shape,
            pixel=pixel,
            middle=(0.0, (low + high) / 2),
            depth=(-half, half),
        )


def turning_pixel(mesh: Mesh) -> float:
    """Return the size of a pixel of the pictures that `turning_surface` yields."""
    scene = SurfaceScene.of(mesh)
    return max(2 * _half_width(scene), (1 + 2 * MARGIN) * float(np.ptp(scene.position[:, 1]))) / MOVIE_PX


def _half_width(scene: SurfaceScene) -> float:
    """Return the largest distance from the rotation axis, with a margin."""
    return (1 + 2 * MARGIN) * float(np.hypot(scene.position[:, 0], scene.position[:, 2]).max())
