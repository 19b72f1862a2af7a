"""Result of a decomposition: maps of elements or components, their parts, and the spectra behind them."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.series import TiltSeries
from etcli.core.spectra.components import ComponentCurve
from etcli.core.spectra.counts import Maps
from etcli.core.spectra.sum_fit import SumFit
from etcli.io.element_map import COUNTS, ElementMap
from etcli.io.mdoc import Mdoc

Doubles = NDArray[np.float64]

EXPECTED = "expected counts"
NET = "net signal"


@dataclass(frozen=True, eq=False)
class MapInfo:
    """What a map shows.

    Parameters
    ----------
    name : str
        Symbol of an element, or C1, C2 ... for components.
    line : str
        Families of lines or the edge; for a component the elements in its spectrum.
    total : float
        Sum of the map.
    sensitivity : float or None
        Counts of an atom, up to a factor that all elements have in common.
    spectrum : ndarray of shape (n_channels,), float64
        Its part of the sum of all spectra.
    there : bool
        Whether it is significant in the sum.
    sd : float or None
        Standard deviation of the counts in the sum by its noise, where it is known.
    fitted : float or None
        Counts that the fit of the sum found; also where they are not significant, and the map is empty.
    """

    name: str
    line: str
    total: float
    sensitivity: float | None
    spectrum: Doubles
    there: bool = True
    sd: float | None = None
    fitted: float | None = None

    @property
    def significance(self) -> float | None:
        """Counts in the sum over their standard deviation, where these are known."""
        counts = self.total if self.fitted is None else self.fitted
        return counts / self.sd if self.sd else None


@dataclass(frozen=True, eq=False)
class Decomposition:
    """Maps of a tilt series of spectrum images.

    Parameters
    ----------
    like : TiltSeries
        Angles and metadata; its images are zero.
    method : str
    info : tuple of MapInfo
    maps : ndarray of shape (n_maps, n_views, ny, nx), float32
    parts : tuple of two ndarray of that shape, or None
        Maps of the training and the test part of thinned counts.
    training : float
        Probability of the training part.
    total : ndarray of shape (n_views, ny, nx), float32
        Sum over the channels.
    values : str
        What maps hold, for their mdocs.
    sum_spectrum, energy_keV : ndarray of shape (n_channels,), float64
    others : dict of str to ndarray of shape (n_channels,)
        Other parts of the sum: of elements that were not named, and of the background.
    fit : SumFit, optional
    curve : ComponentCurve, optional
    """

    like: TiltSeries
    method: str
    info: tuple[MapInfo, ...]
    maps: Maps
    parts: tuple[Maps, Maps] | None
    training: float
    total: Maps
    values: str
    sum_spectrum: Doubles
    energy_keV: Doubles
    others: dict[str, Doubles] = field(default_factory=dict)
    fit: SumFit | None = None
    curve: ComponentCurve | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the maps."""
        return tuple(one.name for one in self.info)

    def series(self, name: str = "sum", *, part: str = "") -> TiltSeries:
        """Return a map as a tilt series.

        Parameters
        ----------
        name : str
            That of the map, or "sum".
        part : {"", "train", "test"}
            All counts, or a part of them.

        Returns
        -------
        TiltSeries
            Its mdoc tells element, line, sensitivity, part and what values are.
        """
        mdoc = self.like.description
        if not isinstance(mdoc, Mdoc):
            mdoc = Mdoc.empty(len(self.like), name=self.like.name)
        if name == "sum":
            known, images = ElementMap(values=COUNTS), self.total
        else:
            k = self.names.index(name)
            one = self.info[k]
            maps = self.maps if not part or self.parts is None else self.parts[part == "test"]
            known, images = ElementMap(name, one.line, one.sensitivity, part, self.values), maps[k]
        mdoc = known.write(mdoc)
        if part:
            share = self.training if part == "train" else 1 - self.training
            mdoc = mdoc.with_value("Thinning", round(share, 9))
        views = replace(self.like.views, channel=np.full(len(self.like), name))
        return replace(self.like, data=images, views=views, description=mdoc, name=name)

    @property
    def table(self) -> dict[str, Doubles]:
        """Columns of the table of spectra: counts of a channel in the sum of all pixels."""
        pure = {f"{one.name}_counts": one.spectrum for one in self.info}
        others = {f"{name.replace(' ', '_')}_counts": spectrum for name, spectrum in self.others.items()}
        parts = {**pure, **others}
        explains = self.values == EXPECTED
        fitted = {"fit_counts": sum(parts.values(), start=np.zeros(len(self.energy_keV)))} if explains else {}
        return {"energy_keV": self.energy_keV, "sum_counts": self.sum_spectrum, **fitted, **parts}

    @property
    def numbers(self) -> dict[str, Any]:
        """The numbers of the run, for ``--json``."""
        maps = [
            {
                "name": one.name,
                "line": one.line,
                "counts": float(one.total),
                "counts_of_sum": one.fitted,
                "counts_sd": one.sd,
                "significance": one.significance,
                "sensitivity": one.sensitivity,
                "is_there": bool(one.there),
            }
            for one in self.info
        ]
        found: dict[str, Any] = {
            "method": self.method,
            "values": self.values,
            "counts": float(self.sum_spectrum.sum()),
            "maps": maps,
            "others": {name: float(spectrum.sum()) for name, spectrum in self.others.items()},
            "tilt_deg": self.like.tilt_deg.tolist(),
        }
        if self.parts is not None:
            found["training_share"] = self.training
        if self.fit is not None:
            fit = self.fit
            found["calibration"] = {
                "offset_keV": fit.axis.offset_keV,
                "channel_keV": fit.axis.step_keV,
                "fwhm_Mn_Ka_eV": 1e3 * fit.detector.fwhm_keV,
                "misfit": fit.misfit,
            }
        if self.curve is not None:
            found["components"] = {
                "n": self.curve.n.tolist(),
                "held_out_deviance_nat": self.curve.deviance.tolist(),
                "block_px": self.curve.block_px,
            }
        return found
