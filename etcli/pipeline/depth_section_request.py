"""Options of depth sectioning, named as those of ``etcli depthsect``."""

from dataclasses import dataclass, field

from etcli.core.arguments import check_choice, checked_integer, checked_number, checked_positive
from etcli.core.depth.column_counts import CountOptions
from etcli.core.depth.column_depths import ProfileOptions
from etcli.core.depth.column_search import ColumnOptions
from etcli.core.depth.focal_optics import FocalOptics
from etcli.core.depth.focal_profiles import METHODS
from etcli.core.errors import UsageError
from etcli.core.lengths import ANGSTROM_PER_UM, Length

STAGES = ("align", "columns", "count", "depth", "build")
SIGNS = ("serialem", "positive-under")
VALUES = ("auto", "counts", "fractions")
WIDTHS = ("same", "different", "statstem")
CROSS_SECTIONS = ("gaussian", "voronoi")
COUNT_METHODS = ("library", "hybrid", "icl")
RELAX = ("snap", "none")
Zone = tuple[int, int, int]


@dataclass(frozen=True)
class DepthSectionRequest:
    """Options of depth sectioning.

    Parameters
    ----------
    stop_after : str
        The last stage of `STAGES`.
    defocus_sign : {"serialem", "positive-under"}
        Whether underfocus, with the focal plane deeper in the specimen, is negative or positive.
    pixel : Length or None
        Pixel size; that of the series by default.
    dose_e_A2 : float or None
        Electrons per Å² in an image; that of the series by default.
    values : {"auto", "counts", "fractions"}
        Whether pixels hold counted electrons or fractions of the beam; auto takes integers as counts.
    align : bool
        Whether the sections are registered.
    max_shift : Length or None
        Largest displacement of neighbouring sections.
    average_sections : int
        Sections in the average in which columns are found and counted: the sharpest ones.
    detect_sigma, min_distance : Length
        Size of the detector, and smallest distance of columns.
    threshold : float
        Weakest response of the detector, relative to its 99.5th percentile.
    widths : {"same", "different", "statstem"} or Length
        Widths of the columns.
    background : float or None
        Constant background in fractions of the beam; fitted when None.
    cross_sections : {"gaussian", "voronoi"}
        Volumes of the Gaussians, or sums over the cells of the columns.
    count_method : {"library", "hybrid", "icl"}
    scs_scale : float or "auto"
        Recorded intensity relative to the library.
    components, first_count : int or None
        Of a mixture with free means: number of components, and atoms of the first one.
    core_radius, focus_window : Length
        Disc around a column, and range of focus, from which depths are found.
    depth_method : {"template", "gaussian"}
    correction : bool
        Whether depths are corrected for the channelling of the probe, with the library.
    optics : FocalOptics
        Microscope.
    element : str or None
        Element of the columns; that of the lattice by default.
    debye_waller_A2 : float
        Debye-Waller factor B in Å².
    spacing : Length or None
        Distance of the atoms along a column; that of the lattice by default.
    simulate : bool
        Whether a library is simulated, where the element and the spacing are known.
    lattice : str or None
        Structure, element and lattice constants such as ``fcc:Au:4.078``, or a file with a unit cell.
    zone : (int, int, int)
        Zone axis along the beam.
    relax : {"snap", "none"}
        Whether atoms are put on the lattice along the beam.
    crlb : bool
        Whether the attainable precision is computed.
    """

    stop_after: str = "build"
    defocus_sign: str = "serialem"
    pixel: Length | None = None
    dose_e_A2: float | None = None
    values: str = "auto"
    align: bool = True
    max_shift: Length | None = None
    average_sections: int = 8
    detect_sigma: Length = Length(0.5, "A")
    min_distance: Length = Length(1.3, "A")
    threshold: float = 0.05
    widths: str | Length = "same"
    background: float | None = None
    cross_sections: str = "gaussian"
    count_method: str = "library"
    scs_scale: float | str = "auto"
    components: int | None = None
    first_count: int | None = None
    core_radius: Length = Length(0.5, "A")
    focus_window: Length = Length(100.0, "A")
    depth_method: str = "template"
    correction: bool = True
    optics: FocalOptics = field(default_factory=FocalOptics)
    element: str | None = None
    debye_waller_A2: float = 0.63
    spacing: Length | None = None
    simulate: bool = True
    lattice: str | None = None
    zone: Zone = (0, 0, 1)
    relax: str = "snap"
    crlb: bool = False

    def __post_init__(self) -> None:
        for what, name, choices in (
            ("stage", "stop_after", STAGES),
            ("sign of defocus", "defocus_sign", SIGNS),
            ("kind of values", "values", VALUES),
            ("kind of cross-sections", "cross_sections", CROSS_SECTIONS),
            ("method of counting", "count_method", COUNT_METHODS),
            ("method of depth", "depth_method", METHODS),
            ("relaxation", "relax", RELAX),
        ):
            check_choice(what, getattr(self, name), choices)
        if isinstance(self.widths, str):
            check_choice("kind of widths", self.widths, WIDTHS)
        for name in ("dose_e_A2", "threshold"):
            if getattr(self, name) is not None:
                checked_positive(name, getattr(self, name))
        checked_positive("debye_waller_A2", self.debye_waller_A2, or_zero=True)
        for name in ("average_sections", "components", "first_count"):
            if getattr(self, name) is not None:
                checked_integer(name, getattr(self, name))
        if self.average_sections < 1:
            raise UsageError(f"--average-sections {self.average_sections}: an average needs 1 or more")
        if self.background is not None:
            checked_number("background", self.background)
        if isinstance(self.scs_scale, str):
            check_choice("scale", self.scs_scale, ("auto",))
        else:
            checked_positive("scs_scale", self.scs_scale)
        if not self.correction and self.lattice is not None and self.relax == "snap":
            raise UsageError(
                "peaks without correction are too far from the depths to put them on a lattice; add --relax "
                "none"
            )
        if self.max_shift is not None and not self.align:
            raise UsageError("--max-shift is of the alignment, which --no-align leaves out; leave one out")
        if self.scs_scale != "auto" and self.count_method != "library":
            raise UsageError("--scs-scale is of --count-method library; the others fit their own scale")
        if not self.correction and self.depth_method == "template":
            raise UsageError(
                "a template corrects depths itself; give --depth-method gaussian with --no-correction"
            )
        if self.crlb and not self.runs("depth"):
            raise UsageError(f"--crlb is about depths; leave it out with --stop-after {self.stop_after}")
        for name, needed in (("components", "icl"), ("first_count", "icl")):
            if getattr(self, name) is not None and self.count_method != needed:
                option = f"--{name.replace('_', '-')}"
                raise UsageError(f"{option} is of a mixture with free means; give --count-method icl with it")

    def runs(self, stage: str) -> bool:
        """Whether a stage is wanted."""
        return STAGES.index(stage) <= STAGES.index(self.stop_after)

    def focus_A(self, defocus_um: float) -> float:
        """Depth of the focal plane in Å."""
        return (-ANGSTROM_PER_UM if self.defocus_sign == "serialem" else ANGSTROM_PER_UM) * defocus_um

    def columns(self, pixel_A: float) -> ColumnOptions:
        """Options of columns in Å."""
        widths: str | float = {"same": "common", "different": "own", "statstem": "staged"}.get(
            str(self.widths), "common"
        )
        if isinstance(self.widths, Length):
            widths = self.widths.angstrom(pixel_A)
        return ColumnOptions(
            detect_sigma_A=self.detect_sigma.angstrom(pixel_A),
            min_distance_A=self.min_distance.angstrom(pixel_A),
            threshold=self.threshold,
            width=widths,
            background=self.background,
        )

    def counting(self) -> CountOptions:
        """Options of counting."""
        return CountOptions(self.count_method, self.scs_scale, self.components, self.first_count)

    def profiles(self, pixel_A: float) -> ProfileOptions:
        """Options of depths in Å."""
        return ProfileOptions(
            self.core_radius.angstrom(pixel_A), self.focus_window.angstrom(pixel_A), self.depth_method
        )
