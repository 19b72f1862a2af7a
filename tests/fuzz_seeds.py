"""Good files of every format that is read, to be damaged by `tests.fuzz`."""

import gzip
import importlib.util
import struct
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from etcli.core.atomic_model import Atoms
from etcli.io.atoms import read_atoms_file, write_atoms
from etcli.io.atoms_file import Box
from etcli.io.euler import read_euler
from etcli.io.extended_header import serialem_extended_header
from etcli.io.facts import facts_of, in_words
from etcli.io.image_file import open_images
from etcli.io.tables import read_table
from etcli.io.tilts import read_tilts
from etcli.io.transforms import read_axis, read_xf
from tests.files import TILT_DEG, images, mdoc_text, mrc_bytes

Read = Callable[[Path], object]
COMPLEX = 4


@dataclass(frozen=True)
class Seed:
    """A good file.

    Parameters
    ----------
    kind : str
        Its format, as the fuzzer calls it.
    name : str
        Name of the file to be damaged.
    content : bytes
    read : callable
        Reads it.
    is_text : bool
    beside : mapping of str to bytes
        Other files in its folder, which stay whole.
    """

    kind: str
    name: str
    content: bytes
    read: Read
    is_text: bool = False
    beside: Mapping[str, bytes] = field(default_factory=dict)


@lru_cache(1)
def seeds() -> tuple[Seed, ...]:
    """Return the good files; those of HDF5 only where h5py is installed."""
    return (*_mrc(), *_mdocs(), *_numbers(), *_tiff(), *_atoms(), *_digital_micrograph(), *_hdf5())


def read_images(path: Path) -> None:
    """Read all that a file of images holds."""
    file = open_images(str(path))
    if file.mode == COMPLEX:
        return  # refused when its values are asked for
    facts_of(file)
    in_words(file)
    for stack in (file.series(), file.volume()):
        for k in (0, len(stack) - 1):
            stack.view(k)


def _read_beside(name: str) -> Read:
    """Return the reader of a file beside an image file."""
    return lambda path: read_images(path.with_name(name))


def _mrc() -> list[Seed]:
    data, size = images(), (10, 12, 4)
    serialem, n_bytes, flags = serialem_extended_header(TILT_DEG)
    words = np.zeros((4, 128), "<f4")
    words[:, 0], words[:, 10], words[:, 11] = TILT_DEG, 85.3, 2.5e-10
    volume = f"PixelSpacing = 2\nVolumeSize = 10 12 4\nOrigin = 0 0 4\nRotationCentre = 10 12 4\n{'':1000}\n"
    variants: dict[str, bytes] = {
        f"mode {mode}{order}": mrc_bytes((data // 8).astype(order + kind), size, mode, order=order)
        for mode, kind in ((0, "i1"), (1, "i2"), (2, "f4"), (4, "c8"), (6, "u2"), (12, "f2"))
        for order in "<>"
    }
    variants["4 bits"] = mrc_bytes(bytes(4 * 12 * 5), size, 101)
    real: dict[str, Any] = {"data": data, "size": size, "mode": 2}
    variants["SERI"] = mrc_bytes(**real, exttyp=b"SERI", extended=serialem, counts=(n_bytes, flags))
    variants["AGAR"] = mrc_bytes(**real, exttyp=b"AGAR", extended=words.tobytes(), counts=(0, 128))
    variants["FEI1"] = mrc_bytes(**real, exttyp=b"FEI1", extended=struct.pack("<i", 768) + bytes(4 * 768))
    labels = ["etcli recon 1.0: SIRT 30, 61 views", "etcli frame: 10,12,4 A, voxel 2"]
    variants["volume"] = mrc_bytes(**real, exttyp=b"MDOC", extended=volume.encode(), labels=labels)
    found = [Seed("mrc", "a.mrc", content, read_images) for content in variants.values()]
    return [*found, Seed("mrc", "a.mrc.gz", gzip.compress(variants["SERI"]), read_images)]


def _mdocs() -> list[Seed]:
    stack = mrc_bytes(images(), (10, 12, 4), 2)
    series = mdoc_text(TILT_DEG).replace(
        "Mark", "DateTime = 30-Nov-15  15:21:38\nSubFramePath = D:\\a.tif\nMark"
    )
    volume = (
        "PixelSpacing = 2\nImageFile = a.mrc\nVolumeSize = 10 12 4\nOrigin = 0 0 4\nRotationCentre = 10 12 4"
        "\nFrameVoxel = 2\nXTilt = 1.25\nSectionsAlong = z\nNumberOfViews = 61\n\n[T = etcli recon 1.0: x]\n"
    )
    tiff = _bytes_of("a.tif", lambda path: tifffile.imwrite(path, images(), photometric="minisblack"))
    return [
        Seed("mdoc", "a.mrc.mdoc", series.encode(), _read_beside("a.mrc"), True, {"a.mrc": stack}),
        Seed("mdoc", "a.mdoc", series.encode("utf-16"), _read_beside("a.mrc"), True, {"a.mrc": stack}),
        Seed("mdoc", "a.tif.mdoc", volume.encode(), _read_beside("a.tif"), True, {"a.tif": tiff}),
    ]


def _numbers() -> list[Seed]:
    stack = {"a.mrc": mrc_bytes(images(), (10, 12, 4), 2)}
    angles = "".join(f"{angle:8.2f}\n" for angle in TILT_DEG).encode()
    xf = b"   1.0000000   0.0000000   0.0000000   1.0000000       1.250      -3.000\n" * 4
    axis = b"axis 3.500 deg, offset 1.200 px; SHA-256 of the transforms 00\n"
    table = b"x_px,y_px,count,label\n1,2,3,a\n4,5,6,b\n7,8,,c\n"
    return [
        Seed("angles", "a.tlt", angles, _read_beside("a.mrc"), True, stack),
        Seed("angles", "a.rawtlt", angles, _read_beside("a.mrc"), True, stack),
        Seed("angles", "b.txt", angles, read_tilts, True),
        Seed("xf", "a.xf", xf, read_xf, True),
        Seed("xf", "a.xf.axis", axis, lambda path: read_axis(path.with_suffix("")), True, {"a.xf": xf}),
        Seed("euler", "a.csv", b"phi,theta,psi\n0,0,0\n10,20,30\n-40,5,60\n", read_euler, True),
        Seed(
            "table",
            "b.csv",
            table,
            lambda path: read_table(path, needed=("x_px", "y_px"), optional=("count",)),
            True,
        ),
    ]


def _tiff() -> list[Seed]:
    data = images().astype(np.uint16)
    ome = {"axes": "ZYX", "PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "nm"}

    def pages(path: Path) -> None:
        with tifffile.TiffWriter(path) as file:
            for image in data:
                file.write(image, photometric="minisblack", contiguous=False, metadata=None)

    def imagej(path: Path) -> None:
        tifffile.imwrite(path, data, imagej=True, resolution=(4, 4), metadata={"unit": "nm", "axes": "ZYX"})

    writers: dict[str, Callable[[Path], Any]] = {
        "plain": lambda path: tifffile.imwrite(path, data, photometric="minisblack"),
        "big": lambda path: tifffile.imwrite(
            path, data, photometric="minisblack", bigtiff=True, byteorder=">"
        ),
        "packed": lambda path: tifffile.imwrite(path, data, photometric="minisblack", compression="zlib"),
        "tiles": lambda path: tifffile.imwrite(path, data, photometric="minisblack", tile=(16, 16)),
        "ome": lambda path: tifffile.imwrite(path, data, photometric="minisblack", ome=True, metadata=ome),
        "imagej": imagej,
        "pages": pages,
    }
    return [Seed("tiff", "a.tif", _bytes_of("a.tif", write), read_images) for write in writers.values()]


def _atoms() -> list[Seed]:
    position_A = np.random.default_rng(0).normal(0, 5, (12, 3)).round(3)
    atoms = Atoms(position_A, np.array(["Si", "O"] * 6), {"intensity": np.arange(12.0)})
    box = Box(10.0 * np.eye(3), np.full(3, -5.0))
    plain = b"2\nmade by hand\nSi 0 0 0\nO 1.6 0 -1e0\n"
    found = [Seed("xyz", "b.xyz", plain, read_atoms_file, True)]
    for kind in ("xyz", "plain.xyz", "cif", "pdb"):
        name = f"a.{kind}"
        content = _bytes_of(
            name, lambda path: write_atoms(path, atoms, box=box, history=["etcli recon: SIRT"])
        )
        found.append(Seed(kind.removeprefix("plain."), name, content, read_atoms_file, True))
    return found


def _hdf5() -> list[Seed]:
    """Return files of Berkeley's EMD and of HyperSpy."""
    if importlib.util.find_spec("h5py") is None or importlib.util.find_spec("rsciio") is None:
        return []
    import h5py

    def emd(path: Path) -> None:
        with h5py.File(path, "w") as file:
            file.attrs["version_major"], file.attrs["version_minor"] = 0, 2
            group = file.create_group("data/tomography")
            group.attrs["emd_group_type"] = 1
            group["data"] = images()
            axes = (TILT_DEG, 0.25 * np.arange(12), 0.25 * np.arange(10))
            for k, (values, name, units) in enumerate(
                zip(axes, ("angles", "y", "x"), ("[deg]", "[n_m]", "[n_m]"), strict=True), start=1
            ):
                axis = group.create_dataset(f"dim{k}", data=np.array(values, np.float32))
                axis.attrs["name"], axis.attrs["units"] = name, units

    def hspy(path: Path) -> None:
        with h5py.File(path, "w") as file:
            file.attrs["file_format"], file.attrs["file_format_version"] = "HyperSpy", "3.3"
            group = file.create_group("Experiments/series")
            group["data"] = images()
            for k, (size, name, units) in enumerate(((4, "Tilt", "°"), (12, "y", "nm"), (10, "x", "nm"))):
                axis = group.create_group(f"axis-{k}")
                axis.attrs.update(
                    {
                        "size": size,
                        "name": name,
                        "units": units,
                        "scale": 2.0,
                        "offset": -3.0,
                        "navigate": k < 1,
                    }
                )
            for name in ("metadata", "original_metadata", "learning_results"):
                group.create_group(name)
            group.attrs["package"], group.attrs["package_version"] = "hyperspy", "2.0"

    return [
        Seed(name, f"a.{name}", _bytes_of(f"a.{name}", write), read_images)
        for name, write in (("emd", emd), ("hspy", hspy))
    ]


def _digital_micrograph() -> list[Seed]:
    """Return a DM3 and a DM4 file of a stack."""
    if importlib.util.find_spec("rsciio") is None:
        return []
    return [Seed(f"dm{k}", f"a.dm{k}", digital_micrograph(images(), k), read_images) for k in (3, 4)]


def digital_micrograph(data: np.ndarray, version: int, *, pixel_nm: float = 0.25) -> bytes:
    """Return a stack as a file of DigitalMicrograph, with the tags that readers need."""
    shape = data.shape[::-1]
    axes = [(1.0, ""), *([(pixel_nm, "nm")] * 2)][::-1]
    image = {
        "ImageData": {
            "Calibrations": {
                "Brightness": {"Origin": 0.0, "Scale": 1.0, "Units": ""},
                "Dimension": [{"Origin": 0.0, "Scale": scale, "Units": unit} for scale, unit in axes],
            },
            "Data": data.astype("<f4"),
            "DataType": 2,
            "Dimensions": list(shape),
            "PixelDepth": 4,
        },
        "ImageTags": {"Microscope Info": {"Stage Position": {"Stage Alpha": 1.5}}},
        "Name": "series",
    }
    tree = {"DocumentObjectList": [{"ImageSource": 0}], "ImageList": [image], "ImageSourceList": []}
    body = _group(tree, version) + bytes(8)
    size = struct.pack(">i" if version == 3 else ">q", len(body) - 4)
    return struct.pack(">i", version) + size + struct.pack(">i", 1) + body


def _group(tree: Any, version: int) -> bytes:
    """Return a group of tags: a dict, or a list of tags without names."""
    count = ">i" if version == 3 else ">q"
    pairs = list(tree.items()) if isinstance(tree, dict) else [("", value) for value in tree]
    tags = b""
    for name, value in pairs:
        is_group = isinstance(value, dict | list)
        content = _group(value, version) if is_group else _value(value, count)
        tags += struct.pack(">BH", 20 if is_group else 21, len(name)) + name.encode()
        tags += (b"" if version == 3 else struct.pack(">q", len(content))) + content
    return b"\0\0" + struct.pack(count, len(pairs)) + tags


def _value(value: Any, count: str) -> bytes:
    """Return a value with the numbers that describe its type."""
    if isinstance(value, np.ndarray):
        kind, data = [20, 6, value.size], value.tobytes()
    elif isinstance(value, str):
        kind, data = [20, 4, len(value)], value.encode("utf-16-le")
    elif isinstance(value, float):
        kind, data = [6], struct.pack("<f", value)
    else:
        kind, data = [5], struct.pack("<I", value)
    return b"%%%%" + struct.pack(count, len(kind)) + b"".join(struct.pack(count, k) for k in kind) + data


def _bytes_of(name: str, write: Callable[[Path], Any]) -> bytes:
    """Return what a function writes into a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write(path)
        return path.read_bytes()
