"""Which views and rows of a series count, how much, and how they are oriented."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from etcli.cli.options import Settings
from etcli.cli.recipes import LEAST_SQUARES, Wish
from etcli.cli.types import checked_list

if TYPE_CHECKING:
    from numpy.typing import NDArray


def used_views(views: tuple[int, ...] | None, exclude: tuple[int, ...] | None, n_views: int) -> list[int]:
    """Return the views that are used, counted from 0."""
    without = set(checked_list(exclude or (), n_views, "view"))
    used = [k for k in checked_list(views or tuple(range(n_views)), n_views, "view") if k not in without]
    if not used:
        raise click.UsageError("--exclude leaves no views; name fewer")
    return used


def used_rows(slices: tuple[int, ...] | None, ny: int) -> tuple[int, int]:
    """Return the first row to reconstruct, counted from 0, and how many."""
    if not slices:
        return 0, ny
    rows = checked_list(slices, ny, "slice")
    if rows != list(range(rows[0], rows[0] + len(rows))):
        raise click.UsageError("--slices must follow one another; name the first and the last, as in 101-200")
    return rows[0], len(rows)


def read_weights(settings: Settings, file: str, wish: Wish, n_views: int) -> "NDArray[Any]":
    """Return what views and their projections are multiplied with; least squares will square it."""
    import numpy as np

    from etcli.core.errors import DataError
    from etcli.io.tilts import read_number_rows

    weight = read_number_rows(Path(file), 1, "weight")[:, 0].astype(np.float32)
    settings.inputs.append(file)
    if len(weight) != n_views or not (weight > 0).all():
        raise DataError(
            f"{file}: {len(weight)} weights for {n_views} views, the least {weight.min():g}; one positive "
            "number a view is needed, and --exclude leaves views out"
        )
    return np.sqrt(weight) if wish.recipe.method in LEAST_SQUARES else weight


def orientation(
    tilt_deg: "NDArray[Any]", euler_deg: "NDArray[Any] | None", x_tilt_deg: float
) -> "NDArray[Any] | None":
    """Return the matrix of every view, None where all are tilted about the vertical axis only."""
    from etcli.core.orientation import rotation_matrices, tilts_as_euler

    if euler_deg is None and x_tilt_deg == 0:
        return None
    views = rotation_matrices(tilts_as_euler(tilt_deg) if euler_deg is None else euler_deg)
    turned: NDArray[Any] = views @ rotation_matrices([[0.0, 0.0, x_tilt_deg]])[0]
    return turned
