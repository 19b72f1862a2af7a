"""Opening the inputs of a command, with what the user should know of them."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etcli.cli.options import Settings
from etcli.core.errors import ConvergenceError, DataError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from etcli.core.registration.transforms import Transforms
    from etcli.io.stack import Stack


def open_input(
    settings: Settings,
    name: str,
    *,
    tilts: str | None = None,
    stream: bool = False,
    without: Collection[int] = (),
    axis_deg: float | None = None,
) -> "Stack":
    """Open a stack, pass its warnings on, and tell where the tilt angles come from to those who ask."""
    from etcli.io.stack import open_stack

    stack = open_stack(name, tilts_file=tilts, stream=stream, without=without)
    settings.inputs += [file for file in (name, tilts) if file]
    settings.inputs += [str(file) for file in _beside(Path(name)) if file.is_file()]
    for text in stack.warnings:
        settings.console.warn(text)
    if stream and stack.misfit:
        # these commands pass a series on, and now it goes without its angles
        settings.console.warn(f"{stack.misfit}; left aside")
    if stack.tilts is not None:
        settings.console.note(f"{name}: {len(stack)} views, tilt angles from {stack.tilts.source}")
    return stack if axis_deg is None else stack.with_axis(axis_deg)


def _beside(path: Path) -> list[Path]:
    """Return the files that may describe a series: no side output may take their place."""
    return [Path(f"{path}.mdoc"), *(path.with_suffix(end) for end in (".mdoc", ".tlt", ".rawtlt"))]


def open_transforms(settings: Settings, name: str, stack: "Stack") -> "Transforms":
    """Read the transforms of a series, one for each of its views."""
    from etcli.io.transforms import read_xf

    transforms = read_xf(Path(name))
    if transforms.n_views != len(stack):
        raise DataError(f"{name}: {transforms.n_views} transforms for the {len(stack)} views of {stack.name}")
    settings.inputs.append(name)
    return transforms


def open_orientations(settings: Settings, name: str, stack: "Stack") -> "tuple[Stack, NDArray[Any]]":
    """Read the Euler angles of a series, which give its tilt angles as well."""
    from etcli.io.euler import read_euler

    euler_deg = read_euler(Path(name), n_views=len(stack))
    settings.inputs.append(name)
    return stack.with_tilts(-euler_deg[:, 1], name), euler_deg


@contextmanager
def naming(stack: "Stack") -> Iterator[None]:
    """Name the file in errors of the core, which knows arrays only."""
    try:
        yield
    except (DataError, ConvergenceError) as error:
        if str(error).startswith(f"{stack.name}: "):
            raise
        raise type(error)(f"{stack.name}: {error}") from error


def whole(settings: Settings, stack: "Stack", *, copies: int) -> "NDArray[Any]":
    """Read all images at once, where that many arrays of their size fit into the memory allowed.

    Parameters
    ----------
    settings : Settings
    stack : Stack
    copies : int
        Arrays of this size that the work takes, this one included.

    Returns
    -------
    ndarray of shape (n, ny, nx), float32
    """
    import numpy as np

    need = 4 * copies * stack.shape[0] * stack.shape[1] * stack.shape[2]
    if need > settings.memory:
        raise UsageError(
            f"{stack.name}: the work takes {-(-need >> 20)}M of memory, "
            f"but only {settings.memory >> 20}M are allowed; give a larger --memory, or bin or crop it"
        )
    images = np.empty(stack.shape, np.float32)
    for k in range(len(stack)):
        images[k] = stack.view(k)
    return images
