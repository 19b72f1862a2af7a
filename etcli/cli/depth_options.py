"""Options of ``etcli depthsect``, by stage."""

import click

from etcli.cli.focal_options import optics_options
from etcli.cli.options import Decorated, add_options, defocus_option
from etcli.cli.simulation_options import Option
from etcli.cli.types import FILE, LENGTH_A, LENGTH_PX, VIEWS, ZONE, WordOrLengthType, WordOrNumberType

INPUT: tuple[Option, ...] = (
    defocus_option,
    click.option(
        "--defocus-sign",
        type=click.Choice(["serialem", "positive-under"]),
        default="serialem",
        show_default=True,
        help="Sign of underfocus, where the focal plane is deeper in the specimen: negative, or positive.",
    ),
    click.option("--views", type=VIEWS, metavar="LIST", help="Sections to use, as in 1-20,22-41."),
    click.option("--pixel", type=LENGTH_A, help="Pixel size.  [default: that of the file]"),
    click.option(
        "--dose",
        "dose_e_A2",
        type=click.FloatRange(0, min_open=True),
        help="Electrons per Å² in an image.  [default: that of the file]",
    ),
    click.option(
        "--values",
        type=click.Choice(["auto", "counts", "fractions"]),
        default="auto",
        show_default=True,
        help="Pixels hold counted electrons, or fractions of the beam; auto takes integers as counts.",
    ),
)
"""Images and foci."""
ALIGN: tuple[Option, ...] = (
    click.option("--no-align", "align", flag_value=False, default=True, help="The sections have no drift."),
    click.option(
        "--max-shift",
        type=LENGTH_PX,
        help="Largest drift between sections.  [default: a quarter of the image]",
    ),
    click.option("--write-xf", type=FILE, metavar="FILE", help="The shifts, as IMOD's .xf."),
    click.option("--write-aligned", type=FILE, metavar="FILE", help="The series without its drift."),
)
"""Stage align."""
COLUMNS: tuple[Option, ...] = (
    click.option(
        "--columns", type=FILE, metavar="FILE", help="Known columns to start from: CSV with x_A and y_A."
    ),
    click.option(
        "--average-sections",
        type=click.IntRange(1),
        default=8,
        show_default=True,
        help="Sections in the image of the columns: the sharpest ones.",
    ),
    click.option(
        "--detect-sigma", type=LENGTH_A, default="0.5A", show_default=True, help="Size of the detector."
    ),
    click.option(
        "--min-distance",
        type=LENGTH_A,
        default="1.3A",
        show_default=True,
        help="Smallest distance of two columns.",
    ),
    click.option(
        "--threshold",
        type=click.FloatRange(0, 1, min_open=True),
        default=0.05,
        show_default=True,
        help="Weakest column, relative to the brightest ones (99.5th percentile).",
    ),
    click.option(
        "--widths",
        type=WordOrLengthType("A", "same", "different", "statstem"),
        default="same",
        show_default=True,
        help="Widths of the Gaussians; statstem fits in the order of that program.",
    ),
    click.option(
        "--background",
        type=float,
        help="Background of the image of the columns, as a fraction of the beam.  [default: fitted]",
    ),
    click.option(
        "--cross-sections",
        type=click.Choice(["gaussian", "voronoi"]),
        default="gaussian",
        show_default=True,
        help="Volumes of the Gaussians, or sums over the Voronoi cells of the columns.",
    ),
    click.option("--write-mean", type=FILE, metavar="FILE", help="The image of the columns."),
    click.option("--write-model", type=FILE, metavar="FILE", help="The fitted image."),
)
"""Stage columns."""
COUNT: tuple[Option, ...] = (
    click.option(
        "--counts",
        type=FILE,
        metavar="FILE",
        help="Known counts: CSV with count, and x_A and y_A unless in the order of --columns.",
    ),
    click.option(
        "--library",
        type=FILE,
        metavar="simulate|none|FILE",
        default="simulate",
        show_default=True,
        help="Library: simulated, none, or CSV with n_atoms and scs_A2, or with n_atoms, "
        "defocus_minus_zcom_A and core_intensity_r0.5A.",
    ),
    click.option(
        "--count-method",
        type=click.Choice(["library", "hybrid", "icl"]),
        default="library",
        show_default=True,
        help="Nearest cross-section; mixture with the means of the library; mixture with free means.",
    ),
    click.option(
        "--scs-scale",
        type=WordOrNumberType("auto"),
        default="auto",
        show_default=True,
        help="Cross-sections relative to the library; auto fits 0.85 to 1.15.",
    ),
    click.option("--components", type=click.IntRange(1), metavar="K", help="Components of the free mixture."),
    click.option("--first-count", type=click.IntRange(0), metavar="N", help="Atoms of the first component."),
)
"""Stage count."""
DEPTH: tuple[Option, ...] = (
    click.option(
        "--core-radius",
        type=LENGTH_A,
        default="0.5A",
        show_default=True,
        help="Disc around a column whose brightness is followed through focus.",
    ),
    click.option(
        "--focus-window",
        type=LENGTH_A,
        default="100A",
        show_default=True,
        help="Sections that are used: within this focus of the peak.",
    ),
    click.option(
        "--depth-method",
        type=click.Choice(["template", "gaussian"]),
        default="template",
        show_default=True,
        help="Profile of the library, or a Gaussian whose centre the library corrects.",
    ),
    click.option(
        "--no-correction",
        "correction",
        flag_value=False,
        default=True,
        help="Depths are the peaks of Gaussians.",
    ),
    click.option(
        "--element", metavar="SYMBOL", help="Element of the columns.  [default: that of the lattice]"
    ),
    click.option(
        "--spacing",
        type=LENGTH_A,
        help="Distance of the atoms along a column.  [default: that of the lattice]",
    ),
)
"""Stage depth, and what is simulated."""
BUILD: tuple[Option, ...] = (
    click.option(
        "--lattice",
        type=FILE,
        metavar="LATTICE|FILE",
        help="Structure, as in fcc:Au:4.078, or a file with a unit cell.",
    ),
    click.option(
        "--zone", type=ZONE, default="001", show_default=True, help="Zone axis of the lattice along the beam."
    ),
    click.option(
        "--relax",
        type=click.Choice(["snap", "none"]),
        default="snap",
        show_default=True,
        help="Put atoms on the lattice along the beam, or leave columns at the depths measured.",
    ),
    click.option("--crlb", is_flag=True, help="Compute the attainable precision of the depths."),
)
"""Stage build."""


def depth_options(function: Decorated) -> Decorated:
    """Add the options of all stages, those of the microscope before the last stage."""
    before = (*INPUT, *ALIGN, *COLUMNS, *COUNT, *DEPTH)
    return add_options(optics_options(add_options(function, BUILD)), before)
