"""Text of SerialEM's ``.mdoc`` files: read, edited and written without losing a byte.

The lines are kept as they are, in blocks: those before the first section, and one block per section, with
the blank lines above its header. Values are looked up in those lines and edits replace single lines, so that
unknown keys, odd spacing and line ends are preserved. Objects are immutable; edits return new ones.

References
----------
The format: SerialEM help, "File Formats" (https://bio3d.colorado.edu/SerialEM/hlp/html/about_formats.htm).
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np

from etcli.core.errors import DataError
from etcli.io.file_kind import UTF_16_MARKS
from etcli.io.history import grouped

Value = str | float | Sequence[float]


class MontageError(DataError):
    """Error raised for images that are pieces of larger ones, not views."""


# `[Kind = name]`; a title that was cut to the length of a label lacks its closing bracket.
_HEADER = re.compile(r"\ufeff?[ \t]*\[[ \t]*(\w+)[ \t]*=[ \t]?(.*?)[ \t]*\]?\s*\Z", re.DOTALL)
_PAIR = re.compile(r"(\ufeff?[ \t]*([^=\[\]#\s][^=]*?)[ \t]*=[ \t]*)(.*?)(\s*)\Z", re.DOTALL)
_DATE = re.compile(r"\d{1,2}-[A-Za-z]{3}-\d{2,4}\s+\d\d:\d\d:\d\d")
_VIEW_KINDS = ("ZValue", "FrameSet")


@dataclass(frozen=True)
class Section:
    """Block of lines: a section with its header, or the lines before and between sections.

    Parameters
    ----------
    lines : tuple of str
        The lines with their ends, blank lines above the header included.
    kind : str
        ``"ZValue"`` or ``"FrameSet"`` for a view, ``"T"`` for a title, ``""`` for the globals.
    number : int
        The number in the header of a view, -1 for other blocks.
    """

    lines: tuple[str, ...]
    kind: str = ""
    number: int = -1

    @property
    def is_view(self) -> bool:
        """Whether the section describes an image."""
        return self.kind in _VIEW_KINDS

    @property
    def is_global(self) -> bool:
        """Whether the values apply to all images, as those below a title do."""
        return self.kind in ("", "T")

    @cached_property
    def values(self) -> dict[str, str]:
        """Keys and values as text, in the order of the file; the last value where a key is repeated."""
        matches = (_PAIR.match(line) for line in self.lines)
        return {match[2]: match[3] for match in matches if match}

    def get(self, key: str) -> str | None:
        """Return the value of a key as text, None where it is absent."""
        return self.values.get(key)

    def with_value(self, key: str, value: Value, *, eol: str = "") -> "Section":
        """Return the section with one value replaced, or added after its last line."""
        text, lines = _as_text(value), list(self.lines)
        for index in reversed(range(len(lines))):
            match = _PAIR.match(lines[index])
            if match and match[2] == key:
                blank = "" if match[1].endswith((" ", "\t")) else " "
                lines[index] = f"{match[1]}{blank}{text}{match[4]}"
                return replace(self, lines=tuple(lines))
        lines.insert(_end_of_text(lines), f"{key} = {text}{eol or _line_end(lines)}")
        return replace(self, lines=tuple(lines))

    def without(self, key: str) -> "Section":
        """Return the section without a key."""
        pairs = ((line, _PAIR.match(line)) for line in self.lines)
        return replace(self, lines=tuple(line for line, pair in pairs if not pair or pair[2] != key))

    def renumbered(self, number: int) -> "Section":
        """Return the section as that of image ``number`` of a stack."""
        if self.kind == "ZValue" and self.number == number:
            return self
        lines = list(self.lines)
        header = next(i for i, line in enumerate(lines) if _HEADER.match(line))
        lines[header] = f"[ZValue = {number}]{_line_end(lines)}"
        return Section(tuple(lines), "ZValue", number)


@dataclass(frozen=True)
class MdocText:
    """The text of an mdoc, in blocks.

    Parameters
    ----------
    blocks : tuple of Section
        All lines, in the order of the file; the first block holds the globals and has no header.
    name : str
        File name for messages.
    encoding : str
        Encoding of the file.
    """

    blocks: tuple[Section, ...]
    name: str = "mdoc"
    encoding: str = "utf-8"

    @classmethod
    def parse(cls, content: bytes | str, *, name: str = "mdoc") -> Self:
        """Read the text of an mdoc.

        Parameters
        ----------
        content : bytes or str
            UTF-8, UTF-16 with its byte order mark, else Latin-1; any line ends.
        name : str
            File name for messages.

        Raises
        ------
        DataError
            If a section has no whole number, or the file describes a montage.
        """
        encoding, text = "utf-8", content
        if isinstance(content, bytes):
            try:
                # written again in UTF-8, which other programs read
                text = content.decode("utf-16" if content.startswith(UTF_16_MARKS) else "utf-8")
            except UnicodeDecodeError:
                encoding, text = "latin-1", content.decode("latin-1")
        mdoc = cls(tuple(_split_blocks(str(text), name)), name, encoding)
        if mdoc.lists_pieces:
            raise montage_error(name)
        return mdoc

    @classmethod
    def empty(cls, n_views: int, *, name: str = "mdoc") -> Self:
        """Return an mdoc with one empty section per view."""
        views = (Section(("\n", f"[ZValue = {k}]\n"), "ZValue", k) for k in range(n_views))
        return cls((Section(()), *views), name)

    @classmethod
    def concatenate(cls, mdocs: Sequence[Self]) -> Self:
        """Join the mdocs of files that become one stack, in that order.

        Sections are renumbered; globals are those of the first; titles that differ only in their date, and
        steps of the history that do not differ in anything else, are kept once.
        """
        joined = replace(mdocs[0], blocks=mdocs[0]._head)
        known = {_DATE.sub("", title).strip() for title in grouped(joined.titles)}
        more: list[str] = []
        for title in (title for mdoc in mdocs[1:] for title in grouped(mdoc.titles)):
            undated = _DATE.sub("", title).strip()
            if undated not in known:
                known.add(undated)
                more += title.split("\n")
        joined = joined.with_titles(more)
        sections = [section for mdoc in mdocs for section in mdoc.sections]
        views = (section.renumbered(k) for k, section in enumerate(sections))
        return replace(joined, blocks=(*joined.blocks, *views))

    def dump(self) -> bytes:
        """Return the text as bytes; unchanged parts are byte for byte as they were read."""
        lines = [line for block in self.blocks for line in block.lines]
        eol = _line_end(lines)
        # The last line of a file may lack its line end, which it needs once other lines follow.
        text = "".join(line if line.endswith("\n") else line + eol for line in lines[:-1])
        text += lines[-1] if lines else ""
        try:
            return text.encode(self.encoding)
        except UnicodeEncodeError:
            return text.encode(errors="surrogateescape")  # names of files that are no text

    @property
    def globals(self) -> dict[str, str]:
        """Keys and values outside the sections of views."""
        own = [block.values for block in self.blocks if block.is_global]
        return {key: value for values in own for key, value in values.items() if key != "T"}

    @property
    def is_flagged_as_montage(self) -> bool:
        """Whether the globals say that the file is a montage."""
        return self.globals.get("Montage", "0") != "0"

    @property
    def lists_pieces(self) -> bool:
        """Whether views are pieces of a montage: at several places (x, y) of the same image (z)."""
        rows = ((section.get("PieceCoordinates") or "").split() for section in self.sections)
        pieces = {tuple(row) for row in rows if len(row) == 3}
        return len(pieces) > len({z for _, _, z in pieces})

    @property
    def titles(self) -> tuple[str, ...]:
        """The titles, with their leading blanks."""
        titles = []
        for line in self._head_lines:
            match = _HEADER.match(line)
            pair = _PAIR.match(line)
            if match and match[1] == "T":
                titles.append(match[2])
            elif pair and pair[2] == "T":
                titles.append(pair[3])
        return tuple(titles)

    @property
    def repeated(self) -> tuple[int, ...]:
        """The numbers that occur in more than one section."""
        listed = [block.number for block in self.blocks if block.is_view]
        return tuple(number for number in self.numbers if listed.count(number) > 1)

    @property
    def sections(self) -> tuple[Section, ...]:
        """The sections of the views in the order of their numbers; the last one of repeated sections."""
        return tuple(self._views[number] for number in sorted(self._views))

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers (ZValue, from 0) of `sections`."""
        return tuple(sorted(self._views))

    def section(self, number: int) -> Section:
        """Return the section of view ``number``, counted from 0, at whatever place of the file.

        Raises
        ------
        DataError
            If there is no such section.
        """
        try:
            return self._views[number]
        except KeyError:
            raise DataError(
                f"{self.name}: no section [ZValue = {number}]; use --exclude {number + 1}"
            ) from None

    def select(self, views: Iterable[int]) -> Self:
        """Return an mdoc of some views, counted from 0, in the order given and renumbered.

        Raises
        ------
        DataError
            If one of them has no section.
        """
        sections = (self.section(int(view)).renumbered(k) for k, view in enumerate(views))
        return replace(self, blocks=(*self._head, *sections))

    def with_value(self, key: str, value: Value) -> Self:
        """Return an mdoc with one global value replaced, or added to the globals."""
        holders = [i for i, block in enumerate(self.blocks) if block.is_global and key in block.values]
        index = holders[-1] if holders else 0
        changed = list(self.blocks)
        changed[index] = changed[index].with_value(key, value, eol=self._eol)
        return replace(self, blocks=tuple(changed))

    def without_value(self, key: str) -> Self:
        """Return an mdoc without a global value."""
        return replace(
            self, blocks=tuple(block.without(key) if block.is_global else block for block in self.blocks)
        )

    def with_view_values(self, key: str, values: Sequence[Value | None]) -> Self:
        """Return an mdoc with a value set in every section, one per view in the order of `sections`.

        A section whose value is None stays as it is.
        """
        changed = {
            section.number: section if value is None else section.with_value(key, value)
            for section, value in zip(self.sections, values, strict=True)
        }
        blocks = (
            changed[block.number] if self._views.get(block.number) is block else block
            for block in self.blocks
        )
        return replace(self, blocks=tuple(blocks))

    def without_view_key(self, key: str) -> Self:
        """Return an mdoc with a key removed from the sections of all views."""
        return replace(
            self, blocks=tuple(block.without(key) if block.is_view else block for block in self.blocks)
        )

    def with_title(self, title: str) -> Self:
        """Return an mdoc with one more title, after the others."""
        return self.with_titles([title])

    def with_titles(self, titles: Iterable[str]) -> Self:
        """Return an mdoc with more titles, after the others."""
        eol = self._eol
        blocks = (Section((eol, f"[T = {_one_line(title)}]{eol}"), "T") for title in titles)
        end = max(i + 1 for i, other in enumerate(self.blocks) if i == 0 or other.kind == "T")
        return replace(self, blocks=(*self.blocks[:end], *blocks, *self.blocks[end:]))

    @cached_property
    def _views(self) -> dict[int, Section]:
        """Sections of views by number."""
        return {block.number: block for block in self.blocks if block.is_view}

    @property
    def _head(self) -> tuple[Section, ...]:
        """Blocks that belong to no view."""
        return tuple(block for block in self.blocks if not block.is_view)

    @property
    def _head_lines(self) -> list[str]:
        """Lines that belong to no view."""
        return [line for block in self._head for line in block.lines]

    @property
    def _eol(self) -> str:
        """Line end of the file."""
        return _line_end([line for block in self.blocks for line in block.lines])


def _split_blocks(text: str, name: str) -> list[Section]:
    """Split a text into blocks, each beginning with the blank lines above its header."""
    blocks, lines, kind, number = list[Section](), list[str](), "", -1
    # Not str.splitlines: it also splits at characters that Latin-1 titles may hold.
    for line_number, line in enumerate(re.findall(r".*\n|.+", text), start=1):
        header = _HEADER.match(line)
        if header:
            end = _end_of_text(lines)
            blocks.append(Section(tuple(lines[:end]), kind, number))
            lines, kind, number = lines[end:], header[1], -1
            if kind == "MontSection":
                raise montage_error(name)
            if kind in _VIEW_KINDS:
                number = _section_number(header[2], f"{name}: line {line_number}: [{kind} = {header[2]}]")
        lines.append(line)
    return [*blocks, Section(tuple(lines), kind, number)]


def _end_of_text(lines: Sequence[str]) -> int:
    """Return the number of lines, not counting blank ones at the end."""
    return max((i + 1 for i, line in enumerate(lines) if line.strip("\ufeff \t\r\n")), default=0)


def _as_text(value: Value) -> str:
    """Write a value on one line as SerialEM does."""
    if isinstance(value, str):
        return _one_line(value).strip()
    # + 0.0: no minus zero.
    return " ".join(f"{number + 0.0:.9g}" for number in np.atleast_1d(value).tolist())


def _one_line(text: str) -> str:
    """Replace line breaks by blanks."""
    return re.sub(r"[\r\n]+", " ", text)


def _line_end(lines: Sequence[str]) -> str:
    """Return the line end in use."""
    first = next((line for line in lines if line.endswith("\n")), "\n")
    return "\r\n" if first.endswith("\r\n") else "\n"


def _section_number(text: str, where: str) -> int:
    """Read the number in the header of a view."""
    if not re.fullmatch(r"\d+", text):
        raise DataError(f"{where} must be a whole number from 0; repair the mdoc or use --tilts")
    return int(text)


def montage_error(name: str) -> MontageError:
    """Return the error for montages, which are not supported."""
    return MontageError(f"{name}: montages are not supported; blend the pieces first, with IMOD's blendmont")
