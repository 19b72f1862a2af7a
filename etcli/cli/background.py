"""The level that is taken off before the work, and telling the user of it."""

from typing import TYPE_CHECKING

from etcli.cli.inputs import naming
from etcli.cli.options import Settings

if TYPE_CHECKING:
    from etcli.io.stack import Stack


def background_level(settings: Settings, stack: "Stack", wish: float | str) -> float | None:
    """Return the level to take off: none, the one given, or that of an empty rim across the tilt axis."""
    if wish == "none":
        return None
    if isinstance(wish, float):
        return wish
    from etcli.core.background import empty_rim_background
    from etcli.core.registration.transforms import lies_along_x

    images = stack.images()
    with naming(stack):
        found = empty_rim_background(
            images.swapaxes(1, 2) if lies_along_x(stack.tilt_axis_deg or 0.0) else images
        )
    if found.level is None:
        settings.console.report(f"no background is taken off: {found.reason}")
    elif found.level == 0:
        settings.console.note(f"no background has to be taken off: {found.reason}")
    else:
        settings.console.report(f"background {found.level:.7g} is taken off ({found.reason})")
    return found.level


def level_words(level: float | None, contrast: str) -> list[str]:
    """Say what was taken off, for the history of the volume."""
    what = "background" if contrast == "linear" else "logarithm from"
    return [f"{what} {level:.6g}"] if level else []
