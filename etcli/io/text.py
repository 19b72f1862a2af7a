"""Text files of other programs: their encodings, and numbers as Fortran writes them."""

from pathlib import Path

from etcli.io.file_kind import UTF_16_MARKS, check_text

_EXPONENTS = str.maketrans("dD", "ee")


def read_text(path: Path) -> str:
    """Read a text file in UTF-8, or in UTF-16 as PowerShell writes it.

    Parameters
    ----------
    path : Path

    Returns
    -------
    str
        Without a byte order mark; bytes that are no text are replaced.

    Raises
    ------
    DataError
        When the file is an image, an archive or another file that is no text.
    """
    content = path.read_bytes()
    check_text(content, str(path))
    return decoded(content).replace("\r\n", "\n").replace("\r", "\n")


def decoded(content: bytes) -> str:
    """Return bytes as text: UTF-16 where they begin with its byte order mark, else UTF-8."""
    encoding = "utf-16" if content.startswith(UTF_16_MARKS) else "utf-8-sig"
    return content.decode(encoding, errors="replace")


def as_number(word: str) -> float:
    """Parse a number; its exponent may be marked by D, as in the double precision of Fortran.

    Parameters
    ----------
    word : str
        Such as ``1.6``, ``1.6e-3`` or ``1.6D-03``.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        When it is no number.
    """
    return float(word.translate(_EXPONENTS))
