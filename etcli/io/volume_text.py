"""The description of a volume: structured text in the extended header, and in ``VOLUME.mdoc`` beside it.

It has the form of SerialEM's mdoc without sections, so that readers of that form skip what they do not know:

    PixelSpacing = 8.4
    ImageFile = volume.mrc
    VolumeSize = 512 512 128
    RotationCentre = 2150.4 2150.4 2150.4
    FrameVoxel = 8.4
    XTilt = 1.25
    SectionsAlong = z
    NumberOfViews = 61

    [T = etcli recon 1.0: SIRT 30, 61 views]

Lengths are in Å along x, y and z of the file, whose first voxel lies at the header's origin; numbers have all
their digits.
"""

from collections.abc import Sequence

from etcli.core.volume_frame import VolumeFrame
from etcli.io.frame_label import OURS, frame_in
from etcli.io.mdoc import Mdoc

SIZE = "VolumeSize"


def volume_text(
    shape: tuple[int, int, int],
    *,
    name: str = "",
    pixel_A: float | None,
    mode: int,
    frame: VolumeFrame | None = None,
    titles: Sequence[str] = (),
) -> Mdoc:
    """Describe a volume.

    Parameters
    ----------
    shape : (int, int, int)
        Numbers of sections, rows and columns.
    name : str
        Of the file; the same volume has the same extended header whatever its name.
    pixel_A : float or None
        Size of a voxel.
    mode : int
        MRC mode.
    frame : VolumeFrame, optional
        Where it lies, where that is known.
    titles : sequence of str
        What was done, the oldest first.

    Returns
    -------
    Mdoc
    """
    known: dict[str, str] = {} if pixel_A is None else {"PixelSpacing": f"{pixel_A:.9g}"}
    known |= {"ImageFile": name} if name else {}
    known |= {"ImageSize": f"{shape[2]} {shape[1]}", "DataMode": str(mode)}
    known[SIZE] = " ".join(map(str, shape[::-1]))
    if frame:
        known["RotationCentre"] = " ".join(repr(float(length)) for length in frame.centre_A)
        known["FrameVoxel"] = repr(float(frame.voxel_A))
        known["XTilt"] = repr(float(frame.x_tilt_deg))
        known["SectionsAlong"] = "y" if frame.along_y else "z"
        if frame.n_views is not None:
            known["NumberOfViews"] = str(frame.n_views)
    text = Mdoc.empty(0, name=name or "volume")
    for key, value in known.items():
        text = text.with_value(key, value)
    for title in titles:
        text = text.with_title(title)
    return text


def describes_volume(text: Mdoc) -> bool:
    """Tell whether a description is of a volume, and not of a series."""
    return SIZE in text.globals


def fits_volume(text: Mdoc, shape: Sequence[int]) -> bool:
    """Tell whether a description is of a volume of that shape (nz, ny, nx)."""
    return text.globals.get(SIZE, "").split() == [str(n) for n in shape[::-1]]


def frame_of(labels: Sequence[str], text: Mdoc | None, *, has_labels: bool = True) -> VolumeFrame | None:
    """Frame of a volume, by its text or else by a label.

    Parameters
    ----------
    labels : sequence of str
        Of the file, the oldest first.
    text : Mdoc or None
        From `volume_text`.
    has_labels : bool
        Whether the format has labels. Where the newest is another program's, that has changed the volume
        since, and no frame is believed.

    Returns
    -------
    VolumeFrame or None
        None where nobody knows.
    """
    if has_labels and not (labels and labels[-1].startswith(OURS)):
        return None
    known = text.globals if text else {}
    try:
        x, y, z = (float(word) for word in known["RotationCentre"].split())
        return VolumeFrame(
            (x, y, z),
            float(known["FrameVoxel"]),
            float(known["XTilt"]),
            known["SectionsAlong"] == "y",
            int(known["NumberOfViews"]) if "NumberOfViews" in known else None,
        )
    except (KeyError, ValueError):
        return frame_in(labels)
