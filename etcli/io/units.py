"""Units of length, as programs spell them in their files."""

import re

_METRES = {"": 1.0, "k": 1e3, "c": 1e-2, "m": 1e-3, "u": 1e-6, "n": 1e-9, "p": 1e-12, "f": 1e-15}
_PREFIXES = {
    **{"kilo": "k", "centi": "c", "milli": "m", "micro": "u", "nano": "n", "pico": "p", "femto": "f"},
    **{prefix: prefix for prefix in _METRES},
}
_METRE = re.compile(r"(kilo|centi|milli|micro|nano|pico|femto)?(?:meter|metre)s?|([kcmunpf]?)m")
_MICRO = str.maketrans({"µ": "u", "μ": "u"})  # the sign of micro, and the Greek letter
_OTHERS_A = {
    **dict.fromkeys(("a", "å", "ang", "angstrom", "angstroms", "ångström", "ångströms", "ångstrom"), 1.0),
    **dict.fromkeys(("micron", "microns"), 1e4),
    **dict.fromkeys(("in", "inch", "inches", '"'), 2.54e8),
}
_DEGREES = ("°", "deg", "degree", "degrees")
_RADIANS = ("rad", "radian", "radians")


def length_unit_A(text: object) -> float | None:
    r"""Return the length of a unit in Å.

    Parameters
    ----------
    text : object
        The unit, such as ``nm``, ``microns``, ``Angstrom``, ``\u00B5m`` as ImageJ writes it, or ``[n_m]`` as
        files of the Berkeley EMD format do.

    Returns
    -------
    float or None
        None for what is no unit of length, such as ``pixel``.
    """
    unit = plain_unit(text)
    match = _METRE.fullmatch(unit)
    if match:
        prefix = _PREFIXES[match[1] or match[2] or ""]
        return float(f"{1e10 * _METRES[prefix]:.12g}")
    return _OTHERS_A.get(unit)


def angle_unit_deg(text: object) -> float | None:
    """Return the angle of a unit in degrees, None for what is no unit of angle."""
    unit = plain_unit(text)
    if unit in _DEGREES:
        return 1.0
    return 57.29577951308232 if unit in _RADIANS else None


def plain_unit(text: object) -> str:
    """Return a unit in small letters, without brackets, underscores, blanks and escapes."""
    word = re.sub(r"\\u([0-9A-Fa-f]{4})", lambda match: chr(int(match[1], 16)), str(text or ""))
    return re.sub(r"[\[\]_\s]", "", word).lower().translate(_MICRO)
