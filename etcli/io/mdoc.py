"""Typed values of SerialEM's ``.mdoc`` files: tilt angles, doses, defoci, times."""

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path, PureWindowsPath
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import DataError
from etcli.core.geometry import wrapped_deg
from etcli.io.file_kind import check_text
from etcli.io.mdoc_text import MdocText, Section

_NUMBER = r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"
# In a title a number may have a decimal comma; the comma that ends it is followed by a blank.
_TITLE_NUMBER = r"([-+]?\d+,\d+|" + _NUMBER[1:]
# SerialEM: "Tilt axis angle = 85.3, binning = 4"; Tomo5: "TiltAxisAngle = -91.81  Binning = 1".
_AXIS = re.compile(r"(tilt\s?axis\s?angle\s*=\s*)" + _TITLE_NUMBER, re.IGNORECASE)
_BIDIR = re.compile(r"\bbidir\s*=\s*" + _TITLE_NUMBER)
_DATE = re.compile(r"(\d{1,2})-([A-Za-z]{3})-(\d{4}|\d{2})\s+(\d\d):(\d\d):(\d\d)")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NUMERIC_KEYS = (
    *("TiltAngle", "Defocus", "TargetDefocus", "ExposureDose", "PriorRecordDose", "PixelSpacing"),
    *("RotationAngle", "ExposureTime", "Binning", "Voltage"),
)


@dataclass(frozen=True)
class AxisAngle:
    """Angle from +y to the tilt axis, counter-clockwise in degrees, and the entry that it comes from."""

    deg: float
    source: Literal["title", "RotationAngle"]


@dataclass(frozen=True)
class Mdoc(MdocText):
    """SerialEM's description of a stack: the text, and its typed values.

    Values that are absent or are no numbers become nan or None; `warnings` lists the latter.
    """

    def with_axis(self, axis_deg: float) -> Self:
        """Return an mdoc whose titles give that tilt axis angle, in the form other programs look for."""
        angle = f"{round(axis_deg, 2) + 0.0:.2f}"  # + 0.0: no minus zero
        if any(_AXIS.search(line) for line in self._head_lines):
            return replace(self, blocks=tuple(_with_axis(block, angle) for block in self.blocks))
        first = self.sections[0] if self.sections else Section(())
        binning, spot, camera = (
            first.get(key) or default
            for key, default in (("Binning", "1"), ("SpotSize", "0"), ("CameraIndex", "0"))
        )
        return self.with_title(
            f"    Tilt axis angle = {angle}, binning = {binning}  spot = {spot}  camera = {camera}"
        )

    def numbers_of(self, key: str) -> NDArray[np.float64]:
        """Return the numbers of a key, one per view in the order of `sections`, nan where there is none."""
        return np.array([_as_number(section.get(key)) for section in self.sections], np.float64)

    @property
    def tilt_deg(self) -> NDArray[np.float64]:
        """Tilt angle of each view in degrees, nan where absent."""
        return self.numbers_of("TiltAngle")

    @property
    def defocus_um(self) -> NDArray[np.float64]:
        """Defocus of each view in µm, negative for underfocus, nan where absent."""
        return self.numbers_of("Defocus")

    @property
    def dose_e_A2(self) -> NDArray[np.float64]:
        """Electrons per Å² in each view, nan where absent; SerialEM writes 0 where it does not know."""
        return self.numbers_of("ExposureDose")

    @property
    def pixel_A(self) -> float | None:
        """Pixel size in Å."""
        return self._first_number("PixelSpacing") or None

    @property
    def voltage_kv(self) -> float | None:
        """Acceleration voltage in kV; 0 means that it is not known."""
        return self._first_number("Voltage") or None

    @property
    def tilt_axis(self) -> AxisAngle | None:
        """Tilt axis angle: the last title that has one, else a guess from the camera's rotation."""
        angles = [axis for line in self._head_lines if (axis := axis_in_title(line)) is not None]
        if angles:
            return AxisAngle(angles[-1], "title")
        rotation = self._first_number("RotationAngle")
        # SerialEM's own rule; other programs write other angles here.
        return None if rotation is None else AxisAngle(wrapped_deg(rotation - 90), "RotationAngle")

    @property
    def bidir_deg(self) -> float | None:
        """Angle at which a bidirectional series began."""
        angles = [match[1] for line in self._head_lines if (match := _BIDIR.search(line))]
        return _with_point(angles[-1]) if angles else None

    @property
    def time_s(self) -> NDArray[np.float64]:
        """Time at which each view was taken, in seconds from the first, nan where unknown."""
        times = [_as_time(section.get("DateTime")) for section in self.sections]
        first = min((time for time in times if time is not None), default=None)
        return np.array(
            [np.nan if time is None or first is None else (time - first).total_seconds() for time in times]
        )

    @property
    def time_order(self) -> NDArray[np.intp]:
        """Views, as indices into `sections`, in the order of acquisition: by DateTime, else by ZValue."""
        times = [_as_time(section.get("DateTime")) for section in self.sections]
        known = [time for time in times if time is not None]
        if len(known) < len(times):
            return np.arange(len(times))
        return np.array(sorted(range(len(known)), key=known.__getitem__), np.intp)

    @property
    def prior_dose_e_A2(self) -> NDArray[np.float64] | None:
        """Electrons per Å² that the specimen had received before each view, None where not known.

        PriorRecordDose; without it, or where it is 0 throughout, ExposureDose summed in time order.
        """
        prior = self.numbers_of("PriorRecordDose")
        if np.isfinite(prior).all() and prior.any():
            return prior
        dose = self.dose_e_A2
        if not np.isfinite(dose).all():
            return None
        order = self.time_order
        before = np.empty_like(dose)
        before[order] = np.cumsum(dose[order]) - dose[order]
        return before

    @property
    def warnings(self) -> list[str]:
        """Messages about entries that cannot be understood: repeated sections, wrong numbers and dates."""
        messages = [
            f"{self.name}: several sections [ZValue = {number}]; the last one is used"
            for number in self.repeated
        ]
        if self.is_flagged_as_montage:
            messages.append(
                f"{self.name}: says Montage = 1 but lists no pieces; its images are taken for views"
            )
        entries = [("", key, self.globals.get(key)) for key in _NUMERIC_KEYS]
        for section in self.sections:
            where = f"[ZValue = {section.number}] "
            entries += [(where, key, section.get(key)) for key in _NUMERIC_KEYS]
            date = section.get("DateTime")
            if date and _as_time(date) is None:
                messages.append(f"{self.name}: {where}DateTime = {date} is not a date")
        messages += [
            f"{self.name}: {where}{key} = {text} is not a number"
            for where, key, text in entries
            if text and math.isnan(_as_number(text))
        ]
        return messages

    def for_images(self, n_images: int, *, of_file: bool = False) -> Self:
        """Return an mdoc with a section for each image of a file, where its only one describes the file.

        SerialEM describes the frames of one exposure by a single ``[FrameSet = 0]``. The dose is shared
        equally among the frames.

        Parameters
        ----------
        n_images : int
            Images of the file.
        of_file : bool
            Whether the section is known to describe the whole file.

        Raises
        ------
        DataError
            When it counts another number of frames.
        """
        if n_images < 2 or len(self.sections) != 1:
            return self
        (whole,) = self.sections
        counted = _as_number(whole.get("NumSubFrames"))
        if not (of_file or whole.kind == "FrameSet" or counted == n_images):
            return self
        if counted not in (1, n_images) and math.isfinite(counted):
            raise DataError(
                f"{self.name}: {counted:g} frames, but the file has {n_images}; copy it again, or use --tilts"
            )
        frames = [whole.renumbered(k) for k in range(n_images)]
        dose, prior = (_as_number(whole.get(key)) for key in ("ExposureDose", "PriorRecordDose"))
        of_frame = float(f"{dose / n_images:.7g}")
        if math.isfinite(dose):
            frames = [frame.with_value("ExposureDose", of_frame) for frame in frames]
        if math.isfinite(dose + prior):
            frames = [
                frame.with_value("PriorRecordDose", prior + k * of_frame) for k, frame in enumerate(frames)
            ]
        return replace(self, blocks=(*self._head, *frames))

    def check_sections(
        self, n_sections: int, *, stack: str = "stack", views: Collection[int] | None = None
    ) -> None:
        """Check that the mdoc belongs to a stack; raise DataError if it does not.

        Parameters
        ----------
        n_sections : int
            Sections of the stack.
        stack : str
            Its name for the message.
        views : collection of int, optional
            The views that are needed, from 0; all when not given.

        Raises
        ------
        DataError
            If a needed view has no section, a section has no image, or sections are repeated and others
            are missing.
        """
        stack_numbers, own_numbers = set(range(n_sections)), set(self.numbers)
        # A repeated section may be a wrongly numbered one: then all views must be present.
        needed = stack_numbers if views is None or self.repeated else set(views)
        absent, surplus = sorted(needed - own_numbers), sorted(own_numbers - stack_numbers)
        if not absent and not surplus:
            return
        findings = {"repeated": self.repeated, "absent": absent, "without an image": surplus}
        what = ", ".join(
            f"ZValue {_shortened(numbers)} {word}" for word, numbers in findings.items() if numbers
        )
        exclude = "" if surplus else f" or --exclude {_shortened([number + 1 for number in absent])}"
        n_listed = sum(block.is_view for block in self.blocks)
        raise DataError(
            f"{stack}: {n_sections} sections but {self.name} lists {n_listed} ({what}); use --tilts{exclude}"
        )

    def _first_number(self, key: str) -> float | None:
        """Return the number of a key in the globals, else in the first section that has one."""
        for text in (self.globals.get(key), *(section.get(key) for section in self.sections)):
            number = _as_number(text)
            if not math.isnan(number):
                return number
        return None


def read_mdoc(path: Path) -> Mdoc:
    """Read an mdoc file.

    Raises
    ------
    DataError
        As `Mdoc.parse`, and when the file is no text.
    """
    content = path.read_bytes()
    check_text(content, str(path))
    return Mdoc.parse(content, name=str(path))


def windows_name(path: str) -> str:
    r"""Return the file name of a ``SubFramePath``, written with ``\`` or ``/``."""
    return PureWindowsPath(path.strip()).name


def axis_in_title(title: str) -> float | None:
    """Return the tilt axis angle that a title of an mdoc or an MRC label gives, in degrees."""
    match = _AXIS.search(title)
    return _with_point(match[2]) if match else None


def axis_in_labels(labels: Sequence[str]) -> float | None:
    """Return the tilt axis angle in SerialEM's label, None where tiltalign has rotated the views since."""
    if any(label.startswith("etcli tiltalign") for label in labels):
        return None
    return next((axis for label in reversed(labels) if (axis := axis_in_title(label)) is not None), None)


def _with_axis(block: Section, angle: str) -> Section:
    """Replace the tilt axis angle in titles."""
    if block.is_view:
        return block
    return replace(block, lines=tuple(_AXIS.sub(rf"\g<1>{angle}", line) for line in block.lines))


def _with_point(text: str) -> float:
    """Return a number that may be written with a decimal comma."""
    return float(text.replace(",", "."))


def _as_number(text: str | None) -> float:
    """Parse a finite number, nan for anything else."""
    number = float(text) if text and re.fullmatch(_NUMBER, text) else math.nan
    return number if math.isfinite(number) else math.nan


def _as_time(text: str | None) -> datetime | None:
    """Parse a date such as ``30-Nov-15  15:21:38``, in any locale."""
    match = _DATE.fullmatch(text or "")
    if not match or match[2].lower() not in _MONTHS:
        return None
    year = int(match[3]) + (2000 if len(match[3]) == 2 else 0)
    day, hour, minute, second = (int(match[i]) for i in (1, 4, 5, 6))
    try:
        return datetime(year, _MONTHS.index(match[2].lower()) + 1, day, hour, minute, second)
    except ValueError:
        return None


def _shortened(numbers: Sequence[int]) -> str:
    """Write the first eight numbers of a list, with dots where there are more."""
    return ",".join(map(str, numbers[:8])) + (",..." if len(numbers) > 8 else "")
