"""Small image files made without etcli, and a run of etcli in this process."""

import contextlib
import io
import re
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import mrcfile
import numpy as np
import pytest
import tifffile

from etcli.cli.run import main

TILT_DEG = (-40.0, 0.0, 20.0, 61.25)
IMOD_STAMP = 1146047817


@dataclass(frozen=True)
class Run:
    """What a run of the program printed."""

    out: str
    err: str
    raw: bytes = field(repr=False)


def etcli(*arguments: object, stdin: bytes = b"", status: int | None = 0, cwd: Path | None = None) -> Run:
    """Run the program in this process and look at its exit status, unless any is expected."""
    files = [io.TextIOWrapper(io.BytesIO(content), "utf-8") for content in (stdin, b"", b"")]
    with (
        contextlib.chdir(cwd or Path.cwd()),
        patch.object(sys, "argv", ["etcli", *map(str, arguments)]),
        patch.multiple(sys, stdin=files[0], stdout=files[1], stderr=files[2], warnoptions=["error"]),
        patch("signal.signal"),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    for file in files[1:]:
        file.flush()
    raw, err = (file.buffer.getvalue() for file in files[1:])
    assert status is None or ended.value.code == status, err.decode()
    return Run(raw.decode("utf-8", "replace"), err.decode(), raw)


def failure(*arguments: object, status: int = 1, cwd: Path | None = None) -> str:
    """Run the program, which must fail with one line of the agreed form and no output; return that line."""
    run = etcli(*arguments, status=status, cwd=cwd)
    assert run.out == ""
    (line,) = run.err.splitlines()
    assert line.startswith("ERROR: ")
    return line


def images(n: int = len(TILT_DEG), ny: int = 12, nx: int = 10) -> np.ndarray:
    """Return noise without any symmetry, whole numbers that every mode but bytes can hold."""
    return np.random.default_rng(1).integers(200, 1000, (n, ny, nx)).astype(np.float32)


def mdoc_text(
    tilt_deg: Sequence[float],
    *,
    pixel_A: float = 2.5,
    axis_deg: float = 85.3,
    defocus_um: Sequence[float] | None = None,
) -> str:
    """Return an mdoc as SerialEM writes it.

    View k has a dose of 1 + k / 10, a ``Mark`` of its own, and by default a defocus of -1 - k / 100.
    """
    if defocus_um is None:
        defocus_um = [-1 - k / 100 for k in range(len(tilt_deg))]
    lines = [
        f"PixelSpacing = {pixel_A}\nVoltage = 200\nImageFile = old.mrc\nImageSize = 10 12\nDataMode = 1\n",
        "[T = SerialEM: made for a test                               30-Nov-15  15:21:38]\n",
        f"[T =     Tilt axis angle = {axis_deg}, binning = 2  spot = 8  camera = 0]\n",
    ]
    for k, angle in enumerate(tilt_deg):
        lines.append(
            f"[ZValue = {k}]\nTiltAngle = {angle}\nMark = m{k}\nPixelSpacing = {pixel_A}\n"
            f"ExposureDose = {1 + k / 10:g}\nDefocus = {defocus_um[k]:g}\n"
        )
    return "\n".join(lines)


def write_stack(path: Path, data: np.ndarray, pixel_A: float = 2.5) -> Path:
    """Write an image stack and nothing beside it."""
    with mrcfile.new(path, data) as mrc:
        mrc.set_image_stack()
        mrc.voxel_size = pixel_A
    return path


def write_series(
    path: Path,
    data: np.ndarray | None = None,
    tilt_deg: Sequence[float] = TILT_DEG,
    *,
    axis_deg: float = 85.3,
    defocus_um: Sequence[float] | None = None,
) -> Path:
    """Write an image stack with its mdoc beside it."""
    write_stack(path, images(len(tilt_deg)) if data is None else data)
    Path(f"{path}.mdoc").write_text(mdoc_text(tilt_deg, axis_deg=axis_deg, defocus_um=defocus_um))
    return path


def mrc_bytes(
    data: np.ndarray | bytes,
    size: tuple[int, int, int],
    mode: int,
    *,
    order: str = "<",
    cells: tuple[int, int, int] | None = None,
    pixel_A: float = 1.0,
    span: tuple[float, float] = (0, -1),
    exttyp: bytes = b"",
    extended: bytes = b"",
    counts: tuple[int, int] = (0, 0),
    stamp: int = 0,
    flags: int = 0,
    origin: tuple[float, float, float] = (0, 0, 0),
    identifier: bytes = b"MAP ",
    machst: bytes | None = None,
    labels: Sequence[str] = (),
) -> bytes:
    """Return an MRC file put together by the byte offsets of the standard; ``span`` is (minimum, maximum)."""
    raw = bytearray(1024)
    cells = cells or size
    for at, form, values in (
        (0, "4i", (*size, mode)),
        (28, "3i", cells),
        (40, "6f", (*(cell * pixel_A for cell in cells), 90, 90, 90)),
        (64, "3i", (1, 2, 3)),
        (76, "3f", (*span, sum(span) / 2)),
        (92, "i", (len(extended),)),
        (104, "4s", (exttyp,)),
        (128, "2h", counts),
        (152, "2i", (stamp, flags)),
        (196, "3f", origin),
        (208, "4s", (identifier,)),
        (212, "4s", (machst or (b"\x44\x44" if order == "<" else b"\x11\x11"),)),
        (220, "i", (len(labels),)),
        *((224 + 80 * k, "80s", (label.encode("latin-1").ljust(80),)) for k, label in enumerate(labels)),
    ):
        struct.pack_into(order + form, raw, at, *values)
    return bytes(raw) + extended + (data if isinstance(data, bytes) else data.tobytes())


def without_run(path: Path) -> bytes:
    """Return an output of etcli without the command lines and inputs of its steps."""
    raw = path.read_bytes()
    details = rb"\n\[T =   (version|command|input): [^\n]*\]\n"
    if path.suffix == ".mdoc":
        return re.sub(details, b"", raw)
    (n_extended,) = struct.unpack_from("<i", raw, 92)
    extended, data = raw[1024 : 1024 + n_extended], raw[1024 + n_extended :]
    return raw[:92] + raw[96:1024] + re.sub(details, b"", extended).rstrip(b"\0") + data


def earlier_output(path: Path) -> bytes:
    """Write what etcli may have written before, and may so replace; return its bytes."""
    if path.suffix == ".mdoc":
        path.write_text("[T = etcli bin 0.1: mean of 2 x 2]\n")
    elif path.suffix == ".tif":
        tifffile.imwrite(path, images(1), software="etcli")
    else:
        labels = ["SerialEM: acquired", "etcli bin 0.1: mean of 2 x 2"]
        path.write_bytes(mrc_bytes(images(1).astype("<f4"), (10, 12, 1), 2, labels=labels))
    return path.read_bytes()
