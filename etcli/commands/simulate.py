"""``etcli simulate``: specimens and the tilt series a microscope would record."""

import json
from typing import TYPE_CHECKING

import click

from etcli.cli.options import Settings, mode_option, output_argument, pass_settings, subcommand
from etcli.cli.types import FILE, LENGTH_A, LENGTH_PX, Length

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from etcli.core.simulate.solids import Specimen
    from etcli.io.outputs import Outputs
    from etcli.io.stack import Stack

COUNTS = (0, 1, 6)
ORDERS = ("rising", "dose-symmetric")


@subcommand(
    "simulate",
    example="etcli simulate needle --size 128 --range -76 76 2 --dose 500 --drift 4px --axis 3 --seed 1 \\\n"
    "    --write-truth truth.json --write-truth truth.mrc needle.mrc",
    references=(
        "Shepp & Logan, IEEE Trans. Nucl. Sci. 21, 21 (1974): the phantom.",
        "Hagen, Wan & Briggs, J. Struct. Biol. 197, 191 (2017): the dose-symmetric order.",
    ),
)
@click.argument("kind", type=click.Choice(["phantom", "particle", "needle"]))
@output_argument
@click.option(
    "--size", type=click.IntRange(16), default=128, show_default=True, help="Pixels along each side."
)
@click.option("--pixel", type=LENGTH_A, default="1nm", show_default=True, help="Pixel size.")
@click.option(
    "--range",
    "angles",
    nargs=3,
    type=float,
    default=(-70.0, 70.0, 2.0),
    show_default=True,
    metavar="A B STEP",
    help="Tilt angles from A to B.",
)
@click.option(
    "--order",
    type=click.Choice(ORDERS),
    default=ORDERS[0],
    show_default=True,
    help="Order in which views are taken.",
)
@click.option(
    "--dose", type=click.FloatRange(0, min_open=True), help="Electrons per Å² and view.  [default: no noise]"
)
@click.option("--drift", type=LENGTH_PX, default="0", help="Views are displaced by up to this, at random.")
@click.option("--axis", type=float, default=0.0, help="Angle from +y to the tilt axis, counter-clockwise.")
@click.option("--offset", type=LENGTH_PX, default="0", help="Distance of the tilt axis from the centre.")
@click.option(
    "--tilt-error", type=click.FloatRange(0), default=0.0, help="Standard deviation of the angles, degrees."
)
@click.option(
    "--level", type=float, default=0.0, help="Background added to every pixel, in density times pixels."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of all that is random.")
@click.option(
    "--write-truth",
    type=FILE,
    metavar="FILE",
    multiple=True,
    help="Also write what is true: the errors (.json), the volume (.mrc).",
)
@mode_option
@pass_settings
def command(
    settings: Settings,
    kind: str,
    output: str,
    size: int,
    pixel: Length,
    angles: tuple[float, float, float],
    order: str,
    dose: float | None,
    drift: Length,
    axis: float,
    offset: Length,
    tilt_error: float,
    level: float,
    seed: int,
    write_truth: tuple[str, ...],
    mode: int,
) -> None:
    """Make a dark-field tilt series of a specimen whose every number is known.

    phantom is Shepp and Logan's head as ellipsoids, particle a support with small metal decorations,
    needle a tapered needle of many layers along the tilt axis. Views are exact line integrals in density
    times pixels, with --dose the electrons counted divided by those of one unit; an integer --mode writes
    the counts themselves. The same seed gives the same bytes.
    """
    import numpy as np

    from etcli.core.errors import UsageError
    from etcli.core.geometry import tilt_range
    from etcli.core.simulate.imaging import dose_symmetric, tilt_series
    from etcli.core.simulate.particles import needle, particle
    from etcli.core.simulate.phantoms import shepp_logan
    from etcli.io.save import Step, series_writer

    unknown = [name for name in write_truth if not name.lower().endswith((".json", ".mrc"))]
    if unknown:
        raise UsageError(f"--write-truth {unknown[0]}: writes .json (the errors) or .mrc (the volume)")
    if mode in COUNTS and dose is None:
        raise UsageError(f"--mode {mode} writes counted electrons; give their number with --dose")
    if pixel.unit == "px":
        raise UsageError("--pixel is the length of a pixel; give it in Å or nm, as in 1nm")
    rng = np.random.default_rng(seed)
    make = {
        "phantom": lambda: shepp_logan(size),
        "particle": lambda: particle(size, rng),
        "needle": lambda: needle(size, rng),
    }
    tilt_deg = tilt_range(*angles)
    if order == "dose-symmetric":
        tilt_deg = tilt_deg[dose_symmetric(tilt_deg)]
    pixel_A, summary = pixel.value, f"{kind} {size}, seed {seed}"
    like = _description(output, tilt_deg, size, pixel_A, dose)
    with (
        settings.outputs() as outputs,
        series_writer(outputs, output, like, step=Step("simulate", summary), mode=mode) as writer,
    ):
        specimen = make[kind]()
        reports = [outputs.path(name) for name in write_truth if name.lower().endswith(".json")]
        for name in write_truth:
            if name.lower().endswith(".mrc"):
                _write_volume(outputs, name, specimen, size, pixel_A, summary)
        series, truth = tilt_series(
            specimen,
            tilt_deg,
            shape=(size, size),
            rng=rng,
            dose_e_A2=dose,
            pixel_A=pixel_A,
            drift_px=drift.px(pixel_A),
            axis_deg=axis,
            axis_offset_px=offset.px(pixel_A),
            tilt_error_deg=tilt_error,
            background=level,
            threads=settings.threads,
        )
        unit = np.float32(truth.electrons_per_unit if mode in COUNTS else 1)
        for k, view in enumerate(series.data):
            writer.write_section(k, unit * view)
        for path in reports:
            path.write_text(f"{json.dumps(truth.as_dict(), indent=1)}\n", encoding="utf-8")


def _description(
    output: str, tilt_deg: "NDArray[np.float64]", size: int, pixel_A: float, dose: float | None
) -> "Stack":
    """Return what the operator knows of the series: how far off it is stands in the truth."""
    import numpy as np

    from etcli.io.mdoc import Mdoc
    from etcli.io.stack import Stack
    from etcli.io.tilts import Tilts

    n = len(tilt_deg)
    mdoc = Mdoc.empty(n).with_value("Voltage", 300).with_view_values("TiltAngle", list(tilt_deg))
    if dose:
        mdoc = mdoc.with_view_values("ExposureDose", [dose] * n)
    no_images = np.broadcast_to(np.float32(0), (n, size, size))
    return Stack(output, no_images, pixel_A, mdoc=mdoc, tilts=Tilts(tilt_deg, "simulation"), axis_deg=0.0)


def _write_volume(
    outputs: "Outputs", name: str, specimen: "Specimen", size: int, pixel_A: float, summary: str
) -> None:
    from etcli.io.save import Step, volume_writer

    shape = (size, size, size)
    step = Step("simulate", summary)
    with volume_writer(outputs, name, shape, step=step, pixel_A=pixel_A) as writer:
        for z, section in enumerate(specimen.sections(shape)):
            writer.write_section(z, section)
