"""Kinds of simulation whose specimen consists of solids, imaged in dark field."""

from typing import TYPE_CHECKING

from etcli.cli.options import Explained, Settings, output_argument, pass_settings, subcommand
from etcli.cli.simulation_options import (
    ERRORS,
    NOISE,
    order_option,
    pixel_option,
    range_option,
    simulation_options,
    size_option,
)
from etcli.commands.simulate import KINDS
from etcli.core.lengths import Length

if TYPE_CHECKING:
    from etcli.pipeline.simulate import SeriesRequest

DETAILS = """
Views are exact line integrals in density times pixels, or with --dose the counted electrons divided by the
electrons per unit; an integer --mode writes the counts themselves. The same seed gives the same bytes.
"""


def solids(kind: str, *, example: str, references: tuple[str, ...] = ()) -> Explained:
    """Create the command of a kind, by its name in `etcli.pipeline.simulate.SPECIMENS`."""

    @subcommand(kind, example=example, references=references, help=f"{KINDS[kind]}\n\n{DETAILS.strip()}")
    @output_argument
    @size_option(128)
    @pixel_option("1nm")
    @simulation_options(
        (range_option(-70.0, 70.0, 2.0), order_option),
        NOISE,
        ERRORS,
        truth="with sizes and places of bodies, the volume (.mrc)",
    )
    @pass_settings
    def command(settings: Settings, output: str, size: int, pixel: Length, request: "SeriesRequest") -> None:
        from etcli.pipeline.simulate import simulate_files

        simulate_files(settings.session, kind, output, request, size=size, pixel=pixel)

    return command
