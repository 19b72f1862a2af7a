"""The tilt axis angle that the description of a series gives."""

from typing import TYPE_CHECKING

from etcli.cli.options import Settings

if TYPE_CHECKING:
    from etcli.io.stack import Stack


def known_axis_deg(settings: Settings, stack: "Stack") -> float:
    """Return the angle from +y to the tilt axis that the file gives, 0 where it gives none."""
    axis_deg = stack.tilt_axis_deg or 0.0
    described = stack.mdoc.tilt_axis if stack.mdoc else None
    if axis_deg and described:
        if described.source == "RotationAngle":
            settings.console.warn(
                f"{stack.name}: tilt axis at {axis_deg:g}° by RotationAngle - 90, "
                "as is usual but not universal"
            )
        else:
            settings.console.note(f"{stack.name}: tilt axis at {axis_deg:g}° by the mdoc")
    return axis_deg
