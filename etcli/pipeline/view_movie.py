"""Movies of the views of a series, the sections of a volume, a turning volume or turning atoms."""

from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from etcli.core.errors import UsageError
from etcli.core.series import ImageStack
from etcli.io.atoms import is_atoms_file, read_atoms_file
from etcli.pipeline.inputs import read_images
from etcli.pipeline.session import Session
from etcli.pipeline.view import ViewRequest, angle_label, by_tilt, report_volume, tilts_of, upright
from etcli.pipeline.view_selection import checked_list

if TYPE_CHECKING:
    from etcli.core.atomic_model import Atoms
    from etcli.plotting.movie import Frame

FPS, STEP_DEG = 10.0, 10.0
MOST_STEP_DEG = 120.0
SAMPLES_DEG = 90.0
"""Step between the pictures of turning atoms from which the colours are chosen."""


def write_movie(
    session: Session, input: str, output: str, request: ViewRequest, *, tilts: str | None = None
) -> None:
    """Write a movie; see `etcli.pipeline.view.view_file`."""
    from etcli.plotting.ffmpeg import ffmpeg_path
    from etcli.plotting.movie import movie

    form = PurePath(output).suffix[1:].lower()
    if form == "mp4":
        ffmpeg_path()  # fails now, not after the computation
    limits, pixel_A = (0.0, 1.0), None
    samples: Iterator[Frame] = iter(())
    if is_atoms_file(input):
        session.reads(input)
        atoms = read_atoms_file(Path(input)).atoms
        frames, n_frames, pixel_A = _turning_atoms(atoms, _step_deg(request))
        samples, _, _ = _turning_atoms(atoms, SAMPLES_DEG)
    elif request.surface:
        from etcli.pipeline.view_surface import surface_to_draw, turning_frames

        surface = surface_to_draw(session, input, request.level)
        frames, n_frames, pixel_A = turning_frames(surface, _step_deg(request))
        samples, _, _ = turning_frames(surface, SAMPLES_DEG)
    else:
        file = read_images(session, input, tilts=tilts)
        stack = upright(file.images())
        chosen = checked_list(request.views, len(stack), "view") if request.views else None
        if tilts_of(stack) is None and chosen is None and not request.slices:
            frames, n_frames, pixel_A, limits = _turning_volume(stack, request)
            report_volume(session, file)
        else:
            frames, n_frames = _one_by_one(stack, chosen or by_tilt(stack), request)
            pixel_A, limits = stack.pixel_A, request.look.levels(stack.images())
    with session.outputs() as outputs:
        movie(
            session.track(frames, n_frames, "frames"),
            outputs.path(output),
            limits=limits,
            look=request.look,
            pixel_A=pixel_A,
            fps=request.fps or FPS,
            form=form,
            samples=samples,
        )


def _one_by_one(stack: ImageStack, chosen: list[int], request: ViewRequest) -> tuple[Iterator["Frame"], int]:
    """Yield views with their angles, or sections with their numbers."""
    from etcli.plotting.movie import Frame

    step = request.step or 1
    if step != int(step):
        raise UsageError(f"--step {step:g}: between views or sections it is a whole number")
    chosen, tilt_deg = chosen[:: int(step)], tilts_of(stack)
    labels = [f"z {k + 1} of {len(stack)}" for k in chosen]
    if tilt_deg is not None:
        labels = [angle_label(tilt_deg[k]) for k in chosen]
    frames = (Frame(stack.view(k), label) for k, label in zip(chosen, labels, strict=True))
    return frames, len(chosen)


def _turning_volume(
    volume: ImageStack, request: ViewRequest
) -> tuple[Iterator["Frame"], int, float | None, tuple[float, float]]:
    """Yield maximum projections of a turning volume."""
    from etcli.plotting.movie import Frame
    from etcli.plotting.turning import has_corners, rotating, turning_angles, turning_factor, turning_levels

    images, step_deg = volume.images(), _step_deg(request)
    limits = turning_levels(images, request.look)
    corners = has_corners(images, limits)
    angles = turning_angles(step_deg)
    frames = (
        Frame(image, f"{angle:.4g}°")
        for image, angle in zip(rotating(images, step_deg=step_deg, corners=corners), angles, strict=True)
    )
    pixel_A = volume.pixel_A and volume.pixel_A * turning_factor(images.shape)
    return frames, len(angles), pixel_A, limits


def _turning_atoms(atoms: "Atoms", step_deg: float) -> tuple[Iterator["Frame"], int, float]:
    """Yield pictures of turning atoms."""
    from etcli.plotting.ball_model import turning, turning_pixel_A
    from etcli.plotting.movie import Frame
    from etcli.plotting.turning import turning_angles

    angles = turning_angles(step_deg)
    frames = (
        Frame(image, f"{angle:.4g}°", in_A=True)
        for image, angle in zip(turning(atoms, step_deg=step_deg), angles, strict=True)
    )
    return frames, len(angles), turning_pixel_A(atoms)


def _step_deg(request: ViewRequest) -> float:
    """Return the angle between two frames of what turns."""
    step_deg = request.step or STEP_DEG
    if step_deg > MOST_STEP_DEG:
        raise UsageError(f"--step {step_deg:g}: what turns needs at most {MOST_STEP_DEG:g}° between frames")
    return step_deg
