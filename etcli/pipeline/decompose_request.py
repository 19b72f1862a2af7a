"""What is asked of a decomposition of spectrum images."""

import re
from dataclasses import dataclass

from etcli.core.arguments import check_choice, checked_integer, checked_number, checked_positive
from etcli.core.elements import NUMBERS
from etcli.core.errors import UsageError

METHODS = ("fit", "windows", "nmf", "nmf-scaled", "power-law")
"""Ways to make maps: known spectra, windows around lines, factorisations, and edges of energy losses."""
OF_ELEMENTS, OF_COMPONENTS = ("fit", "windows", "power-law"), ("nmf", "nmf-scaled")
MOST_COMPONENTS = 50


@dataclass(frozen=True)
class NamedElement:
    """Element of a map, and the family of its lines if only one counts."""

    symbol: str
    family: str = ""

    @classmethod
    def parse(cls, text: str) -> "NamedElement":
        """Read a name such as Ni, Ni_K or, as in HyperSpy, Ni_Ka; raise UsageError for what is none."""
        match = re.fullmatch(r"\s*([A-Za-z]{1,2})(?:_([KLM])[a-z0-9]*)?\s*", text)
        symbol = match[1].capitalize() if match else ""
        if not match or symbol not in NUMBERS or symbol == "X":
            raise UsageError(f"{text.strip()!r} is no element; write symbols, as in Ni,Co or Ni_K,Pt_M")
        return cls(symbol, match[2] or "")

    def __str__(self) -> str:
        return f"{self.symbol}_{self.family}" if self.family else self.symbol


@dataclass(frozen=True)
class DecomposeRequest:
    """Options of a decomposition, named as those of ``etcli decompose``.

    Parameters
    ----------
    elements : tuple of str, or None
        Elements to map; None for those that the sum of all spectra shows.
    components : int or {"auto"} or None
        Number of components of a factorisation; None for maps of elements.
    method : str or None
        One of `METHODS`; by default ``fit`` for elements, ``nmf`` for components, and ``power-law`` for
        energy losses.
    strays : tuple of str or None
        Other elements in the spectra; by default those that the sum shows. Only for ``fit``.
    calibrate : bool
        Whether offset and gain of the energy axis and the width of lines are fitted. For ``fit`` and
        ``windows``.
    training : float
        Probability that a count belongs to the training part.
    seed : int
        Of that choice.
    beam_kV : float or None
        Accelerating voltage; by default that of the file, else 200.
    fwhm_eV : float or None
        Resolution at Mn Kα; by default that of the file, else 130.
    """

    elements: tuple[str, ...] | None = None
    components: int | str | None = None
    method: str | None = None
    strays: tuple[str, ...] | None = None
    calibrate: bool = True
    training: float = 0.8
    seed: int = 0
    beam_kV: float | None = None
    fwhm_eV: float | None = None

    def __post_init__(self) -> None:
        if self.elements is not None and self.components is not None:
            raise UsageError("--elements and --components cannot go together; give one of them")
        if self.elements is not None:
            given = (self.elements,) if isinstance(self.elements, str) else tuple(self.elements)
            object.__setattr__(self, "elements", tuple(str(NamedElement.parse(one)) for one in given))
            symbols = [one.symbol for one in self.named]
            if not symbols or len(set(symbols)) < len(symbols):
                raise UsageError(f"--elements {','.join(given)}: name one element or more, each once")
        if self.strays is not None:
            own = tuple(NamedElement.parse(one).symbol for one in self.strays)
            object.__setattr__(self, "strays", own)
        if self.components is not None and self.components != "auto":
            n = checked_integer("--components", self.components, or_else="'auto'")
            if not 1 <= n <= MOST_COMPONENTS:
                raise UsageError(f"--components {n}: give auto, or a number from 1 to {MOST_COMPONENTS}")
        if self.method is not None:
            check_choice("method", self.method, METHODS)
        if not 0 < checked_number("--training", self.training) < 1:
            raise UsageError(f"--training {self.training:g}: a probability is between 0 and 1")
        if checked_integer("--seed", self.seed) < 0:
            raise UsageError(f"--seed {self.seed}: give 0 or more")
        for name in ("beam_kV", "fwhm_eV"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, checked_positive(name, getattr(self, name)))

    @property
    def named(self) -> tuple[NamedElement, ...]:
        """The elements that are named."""
        return tuple(NamedElement.parse(one) for one in self.elements or ())

    def chosen_method(self, *, is_eels: bool, is_xray: bool = False) -> str:
        """Return the method, also where none is given; raise UsageError where others contradict it."""
        usual = "nmf" if self.components is not None else "power-law" if is_eels else "fit"
        method = self.method or usual
        if method in OF_COMPONENTS and self.elements is not None:
            raise UsageError(
                f"--method {method} finds components; leave --elements out, or take fit or windows"
            )
        if method in OF_ELEMENTS and self.components is not None:
            raise UsageError(f"--method {method} maps elements; leave --components out, or take nmf")
        if is_eels and method in ("fit", "windows"):
            raise UsageError(f"--method {method} is for X-rays, but these are energy losses; take power-law")
        if is_xray and method == "power-law":
            raise UsageError("--method power-law is for energy losses, but these are X-rays; take fit")
        if method == "power-law" and not self.elements:
            raise UsageError("--method power-law needs --elements, whose edges are looked for")
        return method
