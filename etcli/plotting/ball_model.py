"""Pictures of atoms: three projections and a view from an angle, as shaded spheres."""

from collections.abc import Iterator

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from etcli.core.atomic_model import UNKNOWN, Atoms
from etcli.core.atoms.spheres import Scene, shaded
from etcli.core.covalent_radii import COVALENT_RADII_A
from etcli.core.elements import NUMBERS
from etcli.plotting.structure import ELEMENTS
from etcli.plotting.style import GREY, TALLEST_IN, USUAL, WIDTH_IN, Page, styled
from etcli.plotting.ticks import set_ticks_inside
from etcli.plotting.turning import turning_angles

Doubles = NDArray[np.float64]

RADIUS = 0.6
"""Radius of a sphere relative to the covalent radius."""
UNKNOWN_RADIUS_A = 1.3
AZIMUTH_DEG, ELEVATION_DEG = -35.0, 22.0
"""Direction of the view from an angle: turned about y, then about the horizontal."""
LEAST_OBLIQUE = 0.75
"""Least side of the view from an angle, relative to the larger side of X–Y."""
MARGIN = 0.04
LEGEND_HANDLE = 2.2
"""Width of a dot of the legend with the space around it, relative to the size of the text."""
MOVIE_PX = 640

# right, up and to the viewer, for each projection
ALONG_Z: Doubles = np.eye(3)
ALONG_X: Doubles = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
ALONG_Y: Doubles = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])


def colours_of(atoms: Atoms) -> dict[str, str]:
    """Return a colour for each element, in the order of the atomic number, unknown ones last and grey."""
    elements = sorted(set(atoms.species.tolist()) - {UNKNOWN}, key=NUMBERS.__getitem__)
    colours = {name: ELEMENTS[k % (len(ELEMENTS) - 1)] for k, name in enumerate(elements)}
    return colours | ({UNKNOWN: GREY} if UNKNOWN in atoms.species else {})


def scene_of(atoms: Atoms) -> Scene:
    """Return the atoms as coloured spheres, 0.6 times as large as their covalent radii."""
    colours = {name: to_rgb(colour) for name, colour in colours_of(atoms).items()}
    radii_A = {name: RADIUS * COVALENT_RADII_A.get(name, UNKNOWN_RADIUS_A) for name in colours}
    names = atoms.species.tolist()
    return Scene(
        atoms.position_A,
        np.array([radii_A[name] for name in names]),
        np.array([colours[name] for name in names]),
    )


def turned_about_y(angle_deg: float) -> Doubles:
    """Return the rotation of a specimen that is tilted: x cos θ + z sin θ is its new x."""
    cos, sin = np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))
    return np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])


def oblique() -> Doubles:
    """Return the rotation for the view from an angle."""
    cos, sin = np.cos(np.deg2rad(ELEVATION_DEG)), np.sin(np.deg2rad(ELEVATION_DEG))
    raised: Doubles = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    return raised @ turned_about_y(AZIMUTH_DEG)


@styled
def ball_model(atoms: Atoms, *, page: Page = USUAL) -> Figure:
    """Draw atoms as shaded spheres: along z, x and y, and from an angle.

    Parameters
    ----------
    atoms : Atoms
    page : Page
        Size of the picture.

    Returns
    -------
    matplotlib.figure.Figure
        X–Y with Z–Y on its right and X–Z below, and at the lower right the view from an angle. Coordinates
        are those of the atoms in Å, from the rotation centre.
    """
    scene = scene_of(atoms)
    reach_A = scene.radius_A[:, None]
    low_A, high_A = (scene.position_A - reach_A).min(axis=0), (scene.position_A + reach_A).max(axis=0)
    margin_A = MARGIN * float((high_A - low_A).max())
    low_A, high_A = low_A - margin_A, high_A + margin_A
    x_A, y_A, z_A = (float(side) for side in high_A - low_A)
    oblique_A = max(z_A, LEAST_OBLIQUE * max(x_A, y_A))
    left, bottom, gap, below, right, top = (
        page.text_scale * margin for margin in (0.72, 0.65, 0.25, 0.75, 0.1, 0.3)
    )
    inch = min(
        ((page.width_in or WIDTH_IN) - left - gap - right) / (x_A + oblique_A),
        ((page.height_in or TALLEST_IN) - bottom - below - top) / (y_A + oblique_A),
    )
    content = (
        left + gap + right + inch * (x_A + oblique_A),
        bottom + below + top + inch * (y_A + oblique_A),
    )
    figure = page.figure(*content)
    size = figure.get_size_inches()
    left, bottom = left + (size[0] - content[0]) / 2, bottom + (size[1] - content[1]) / 2
    across, lower = left + gap + inch * x_A, bottom + inch * (oblique_A - z_A)
    upper = bottom + below + inch * oblique_A
    panels = (
        (left, upper, x_A, y_A, ALONG_Z, "xy"),
        (across, upper, z_A, y_A, ALONG_X, "zy"),
        (left, lower, x_A, z_A, ALONG_Y, "xz"),
        (across, bottom, oblique_A, oblique_A, oblique(), ""),
    )
    for x_in, y_in, width_A, height_A, matrix, names in panels:
        box = x_in / size[0], y_in / size[1], inch * width_A / size[0], inch * height_A / size[1]
        axes = figure.add_axes(box)
        pixel_A = 1 / (inch * float(rcParams["figure.dpi"]))
        turned = scene.turned(matrix)
        if names:
            at = ["xyz".index(name) for name in names]
            extent_A = (low_A[at[0]], high_A[at[0]], low_A[at[1]], high_A[at[1]])
            _draw(axes, turned, extent_A, pixel_A)
            _label(axes, names, (inch * width_A, inch * height_A))
        else:
            _draw_oblique(axes, turned, matrix, pixel_A, inch * width_A)
            _legend(axes, atoms, inch * width_A)
    return figure


def turning(atoms: Atoms, *, step_deg: float) -> Iterator[NDArray[np.float32]]:
    """Yield pictures of atoms during one full rotation about the tilt axis.

    Parameters
    ----------
    atoms : Atoms
    step_deg : float
        Angle between two pictures.

    Yields
    ------
    ndarray of shape (ny, nx, 3), float32
        Red, green and blue from 0 to 1, row 0 at the bottom; the first at tilt angle 0.
    """
    scene, pixel_A = scene_of(atoms), turning_pixel_A(atoms)
    half_A = _half_width_A(scene)
    low, high = float(scene.position_A[:, 1].min()), float(scene.position_A[:, 1].max())
    edge_A = float(scene.radius_A.max()) + MARGIN * half_A
    shape = (max(1, round((high - low + 2 * edge_A) / pixel_A)), max(1, round(2 * half_A / pixel_A)))
    for angle_deg in turning_angles(step_deg):
        turned = scene.turned(turned_about_y(float(angle_deg)))
        yield shaded(
            turned, shape=shape, pixel_A=pixel_A, middle_A=(0.0, (low + high) / 2), depth_A=(-half_A, half_A)
        )


def turning_pixel_A(atoms: Atoms) -> float:
    """Return the size of a pixel of the pictures that `turning` yields."""
    scene = scene_of(atoms)
    height_A = float(np.ptp(scene.position_A[:, 1])) + 2 * float(scene.radius_A.max())
    return max(2 * _half_width_A(scene), height_A) / MOVIE_PX


def _half_width_A(scene: Scene) -> float:
    """Return the largest distance from the rotation axis that a sphere reaches, with a margin."""
    distance_A = np.hypot(scene.position_A[:, 0], scene.position_A[:, 2]) + scene.radius_A
    return float((1 + 2 * MARGIN) * distance_A.max())


def _draw(axes: Axes, scene: Scene, extent_A: tuple[float, float, float, float], pixel_A: float) -> None:
    """Draw spheres, seen along z, in axes whose coordinates are in Å."""
    left, right, low, high = extent_A
    shape = max(1, round((high - low) / pixel_A)), max(1, round((right - left) / pixel_A))
    picture = shaded(scene, shape=shape, pixel_A=pixel_A, middle_A=((left + right) / 2, (low + high) / 2))
    # bytes, of which matplotlib makes fewer large copies
    picture = (255 * picture).round().astype(np.uint8)
    axes.imshow(picture, extent=extent_A, aspect="auto", interpolation="none")
    axes.spines[:].set_visible(False)


def _label(axes: Axes, names: str, size_in: tuple[float, float]) -> None:
    """Label the axes of a projection: in Å however large it is, as files of atoms and their tables are."""
    axes.spines[["left", "bottom"]].set_visible(True)
    axes.set(xlabel=f"{names[0]} (Å)", ylabel=f"{names[1]} (Å)")
    axes.set_title("–".join(names.upper()), loc="left")
    set_ticks_inside(axes, "x", size_in[0])
    set_ticks_inside(axes, "y", size_in[1])
    if names == "zy":
        axes.set(ylabel="", yticks=[])


def _draw_oblique(axes: Axes, scene: Scene, matrix: Doubles, pixel_A: float, side_in: float) -> None:
    """Draw the view from an angle, as large as fits, with the directions of x, y and z."""
    reach_A = scene.radius_A[:, None]
    low_A, high_A = (
        (scene.position_A - reach_A)[:, :2].min(axis=0),
        (scene.position_A + reach_A)[:, :2].max(axis=0),
    )
    middle_A, half_A = (low_A + high_A) / 2, (0.5 + MARGIN) * float((high_A - low_A).max())
    shrunk_A = max(pixel_A, 2 * half_A / max(1, round(side_in * float(rcParams["figure.dpi"]))))
    extent_A = (middle_A[0] - half_A, middle_A[0] + half_A, middle_A[1] - half_A, middle_A[1] + half_A)
    _draw(axes, scene, extent_A, shrunk_A)
    axes.set(xticks=[], yticks=[])
    show_directions(axes, matrix)


def show_directions(
    axes: Axes, matrix: Doubles, *, at: tuple[float, float] = (0.07, 0.07), length: float = 0.09
) -> None:
    """Draw the directions of x, y and z, turned by a matrix, in fractions of square axes."""
    corner = np.array(at)
    for name, (right, up, _) in zip("xyz", matrix.T, strict=True):
        tip = corner + length * np.array([right, up])
        axes.annotate(
            "",
            tuple(tip),
            tuple(corner),
            xycoords="axes fraction",
            textcoords="axes fraction",
            arrowprops={"arrowstyle": "-|>", "linewidth": 0.8, "color": "black", "shrinkA": 0, "shrinkB": 0},
        )
        x, y = corner + 1.35 * (tip - corner)
        axes.text(x, y, name, transform=axes.transAxes, ha="center", va="center")


def _legend(axes: Axes, atoms: Atoms, width_in: float) -> None:
    """Name the elements and their numbers of atoms below the view from an angle."""
    labels = {name: f"{name} ({(atoms.species == name).sum()})" for name in colours_of(atoms)}
    if UNKNOWN in labels:
        labels[UNKNOWN] = labels[UNKNOWN].replace(UNKNOWN, "unknown", 1)
    for name, colour in colours_of(atoms).items():
        axes.plot([], [], "o", color=colour, markersize=6, label=labels[name])
    size_in = float(rcParams["legend.fontsize"]) / 72
    columns = int(width_in / size_in / (LEGEND_HANDLE + 0.62 * max(map(len, labels.values()))))
    axes.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, 0),
        borderaxespad=0.2,
        columnspacing=1.0,
        handlelength=1.0,
        handletextpad=0.2,
        ncols=max(1, min(columns, len(labels))),
    )
