"""Pictures of the surface of a volume or of labels."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from etcli.core.surfaces.mesh import Mesh
from etcli.pipeline.inputs import read_volume_only
from etcli.pipeline.mesh import MeshRequest, mesh_of
from etcli.pipeline.session import Session

if TYPE_CHECKING:
    from etcli.plotting.movie import Frame


def surface_to_draw(session: Session, input: str, level: float | None) -> Mesh:
    """Return the surface of a volume or of labels in Å, or in px where the pixel size is unknown."""
    volume = read_volume_only(session, input)
    return mesh_of(session, volume, MeshRequest(level=level, unit="A" if volume.pixel_A else "px"))


def turning_frames(mesh: Mesh, step_deg: float) -> tuple[Iterator["Frame"], int, float | None]:
    """Return pictures of a turning surface, their number and the size of their pixels in Å."""
    from etcli.plotting.movie import Frame
    from etcli.plotting.surface_model import turning_pixel, turning_surface
    from etcli.plotting.turning import turning_angles

    angles = turning_angles(step_deg)
    frames = (
        Frame(image, f"{angle:.4g}°")
        for image, angle in zip(turning_surface(mesh, step_deg=step_deg), angles, strict=True)
    )
    return frames, len(angles), turning_pixel(mesh) if mesh.unit == "A" else None
