"""Description of a volume: structured text in the extended header, and in ``VOLUME.mdoc`` beside it.

It has the form of SerialEM's mdoc without sections; readers of that form skip the keys that they do not know:

    PixelSpacing = 8.4
    ImageFile = volume.mrc
    VolumeSize = 512 512 128
    Origin = 0 0 1612.8
    RotationCentre = 2150.4 2150.4 2150.4
    FrameVoxel = 8.4
    XTilt = 1.25
    SectionsAlong = z
    NumberOfViews = 61
    Element = Ni
    Values = counts a voxel
    HalfSet = odd
    MissingWedge = 70 40

    [T = etcli recon 1.0: SIRT 30, 61 views]

Where the volume was turned, ``FileAxes = -y,x,z`` tells along which axes of the reconstruction those of the
file run. ``Element``, ``Line`` and ``Values`` are in volumes of maps of an element. ``HalfSet`` and
``MissingWedge`` are only in half-sets; the wedge begins at 70° and is 40° wide. Lengths are in Å along x, y
and z of the file, whose first voxel lies at the origin: that of the header, or ``Origin`` where the format
has none. Numbers are written with full precision.
"""

from collections.abc import Mapping, Sequence

from etcli.core.volume_axes import IMOD_TILT, UPRIGHT, VolumeAxes
from etcli.core.volume_frame import VolumeFrame
from etcli.io.element_map import ElementMap
from etcli.io.frame_label import OURS, frame_in
from etcli.io.mdoc import Mdoc

SIZE, ORIGIN, CENTRE, AXES = "VolumeSize", "Origin", "RotationCentre", "FileAxes"


def volume_text(
    shape: tuple[int, int, int],
    *,
    name: str = "",
    pixel_A: float | None,
    mode: int,
    origin_A: tuple[float, float, float] = (0.0, 0.0, 0.0),
    frame: VolumeFrame | None = None,
    voltage_kv: float | None = None,
    shows: ElementMap | None = None,
    titles: Sequence[str] = (),
) -> Mdoc:
    """Create the description of a volume.

    Parameters
    ----------
    shape : (int, int, int)
        Numbers of sections, rows and columns.
    name : str
        Name of the file; the extended header is made without it, so as not to depend on the name.
    pixel_A : float or None
        Size of a voxel.
    mode : int
        MRC mode.
    origin_A : tuple of float
        Position of the first voxel (x, y, z).
    frame : VolumeFrame, optional
        Position of the volume, if values.
    voltage_kv : float, optional
        Accelerating voltage in kV, where the values depend on it.
    shows : ElementMap, optional
        Of which element the values are, and what they are.
    titles : sequence of str
        Processing steps, the oldest first.

    Returns
    -------
    Mdoc
    """
    values: dict[str, str] = {} if pixel_A is None else {"PixelSpacing": f"{pixel_A:.9g}"}
    values |= {} if voltage_kv is None else {"Voltage": f"{voltage_kv:g}"}
    values |= {"ImageFile": name} if name else {}
    values |= {"ImageSize": f"{shape[2]} {shape[1]}", "DataMode": str(mode)}
    values[SIZE] = " ".join(map(str, shape[::-1]))
    values[ORIGIN] = " ".join(repr(float(length)) for length in origin_A)
    if frame:
        values[CENTRE] = " ".join(repr(float(length)) for length in frame.centre_A)
        values["FrameVoxel"] = repr(float(frame.voxel_A))
        values["XTilt"] = repr(float(frame.x_tilt_deg))
        values["SectionsAlong"] = str(frame.axes).split(",")[2]
        if frame.axes not in (UPRIGHT, IMOD_TILT):
            values[AXES] = str(frame.axes)
        if frame.n_views is not None:
            values["NumberOfViews"] = str(frame.n_views)
        if frame.half:
            values["HalfSet"] = frame.half
        if frame.wedge_deg:
            values["MissingWedge"] = " ".join(repr(float(angle)) for angle in frame.wedge_deg)
    text = Mdoc.empty(0, name=name or "volume")
    for key, value in values.items():
        text = text.with_value(key, value)
    return (shows.write(text) if shows else text).with_titles(titles)


def describes_volume(text: Mdoc) -> bool:
    """Check whether a description is that of a volume, and not of a series."""
    return SIZE in text.globals


def fits_volume(text: Mdoc, shape: Sequence[int]) -> bool:
    """Check whether a description is that of a volume of the given shape (nz, ny, nx)."""
    return text.globals.get(SIZE, "").split() == [str(n) for n in shape[::-1]]


def origin_of(text: Mdoc | None) -> tuple[float, float, float]:
    """Position of the first voxel, read from the description of a volume; 0 where it has none."""
    try:
        x, y, z = (float(word) for word in (text.globals[ORIGIN] if text else "").split())
        return x, y, z
    except (KeyError, ValueError):
        return 0.0, 0.0, 0.0


def _wedge(text: str | None) -> tuple[float, float] | None:
    """Parse the two angles of a missing wedge."""
    if text is None:
        return None
    start_deg, width_deg = (float(word) for word in text.split())
    return start_deg, width_deg


def frame_of(labels: Sequence[str], text: Mdoc | None, *, has_labels: bool = True) -> VolumeFrame | None:
    """Frame of a volume, read from its description or else from a label.

    Parameters
    ----------
    labels : sequence of str
        Labels of the file, the oldest first.
    text : Mdoc or None
        Description, as made by `volume_text`.
    has_labels : bool
        Whether the format has labels. If the newest one is another program's, that program has changed the
        volume, and its frame is no longer known.

    Returns
    -------
    VolumeFrame or None
        None where it is unknown.
    """
    if has_labels and not (labels and labels[-1].startswith(OURS)):
        return None
    values = text.globals if text else {}
    try:
        x, y, z = (float(word) for word in values[CENTRE].split())
        return VolumeFrame(
            (x, y, z),
            float(values["FrameVoxel"]),
            float(values["XTilt"]),
            _axes_of(values),
            int(values["NumberOfViews"]) if "NumberOfViews" in values else None,
            values.get("HalfSet", ""),
            _wedge(values.get("MissingWedge")),
        )
    except (KeyError, ValueError):
        return frame_in(labels)


def _axes_of(values: Mapping[str, str]) -> VolumeAxes:
    """Axes of a volume, read from its description."""
    if AXES in values:
        return VolumeAxes.parse(values[AXES])
    return IMOD_TILT if values["SectionsAlong"] == "y" else UPRIGHT
