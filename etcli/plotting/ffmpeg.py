"""MP4 movies, made by the program ffmpeg."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import IO, cast

from PIL import Image

from etcli.core.errors import DataError, UsageError

EVEN = "pad=ceil(iw/2)*2:ceil(ih/2)*2:color=black"
"""Filter that gives a frame an even width and height, without which players do not show H.264."""


def ffmpeg_path() -> str:
    """Return the path of ffmpeg; raise UsageError where it is not on PATH."""
    path = shutil.which("ffmpeg")
    if path is None:
        raise UsageError(
            "an .mp4 needs the program ffmpeg, which is not on PATH; install it, or end OUTPUT in .gif"
        )
    return path


def write_mp4(pictures: Iterable[Image.Image], target: Path, *, fps: float) -> None:
    """Write pictures of one size as an MP4 that browsers and presentations play.

    Parameters
    ----------
    pictures : iterable of PIL.Image.Image
        Frames, read one at a time.
    target : Path
        File to write, an MP4 whatever its name.
    fps : float
        Frames per second.

    Raises
    ------
    UsageError
        When ffmpeg is not on PATH.
    DataError
        When ffmpeg fails.
    """
    program = ffmpeg_path()
    waiting = iter(pictures)
    first = next(waiting)
    command = [
        *(program, "-hide_banner", "-loglevel", "error", "-y"),
        *("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{first.width}x{first.height}", "-r", f"{fps:g}"),
        *("-i", "-", "-an", "-vf", EVEN, *_encoder(program), "-pix_fmt", "yuv420p", "-threads", "1"),
        *(
            "-fflags",
            "+bitexact",
            "-flags:v",
            "+bitexact",
            "-movflags",
            "+faststart",
            "-f",
            "mp4",
            str(target.absolute()),  # in a path that does not begin with / a colon would end a protocol
        ),
    ]
    with tempfile.TemporaryFile() as complaints:
        running = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=complaints, stderr=complaints)
        pipe = cast(IO[bytes], running.stdin)
        try:
            with pipe:
                for picture in chain((first,), waiting):
                    pipe.write(picture.convert("RGB").tobytes())
        except BrokenPipeError:
            pass  # ffmpeg has ended early, and says why
        except BaseException:
            running.kill()
            raise
        finally:
            running.wait()
        if running.returncode:
            complaints.seek(0)
            lines = complaints.read().decode("utf-8", "replace").strip().splitlines()
            reason = lines[-1] if lines else f"status {running.returncode}"
            raise DataError(f"ffmpeg could not make the movie ({reason}); end OUTPUT in .gif")


def _encoder(program: str) -> tuple[str, ...]:
    """Return the options of the best encoder that this ffmpeg has."""
    listing = subprocess.run([program, "-hide_banner", "-encoders"], capture_output=True, check=False).stdout
    return ("-c:v", "libx264", "-crf", "18") if b"libx264" in listing else ("-c:v", "mpeg4", "-q:v", "2")
