"""``etcli trace-atoms``: atoms of a volume, with their species and errors."""

from collections.abc import Callable
from pathlib import PurePath
from typing import TYPE_CHECKING

import click

from etcli.cli.atoms_input import centre_of_volume, frame_of_volume, half_volumes, open_volume, oriented_views
from etcli.cli.atoms_log import classes_named, refined, tell
from etcli.cli.inputs import naming
from etcli.cli.options import (
    Settings,
    input_argument,
    json_option,
    output_argument,
    pass_settings,
    plot_option,
    subcommand,
)
from etcli.cli.pictures import announce_picture, check_picture
from etcli.cli.structure_report import write_report
from etcli.cli.tracing import length_A, refine_options, trace_options
from etcli.cli.types import FILE, Length
from etcli.core.errors import DataError, UsageError

if TYPE_CHECKING:
    from etcli.core.atoms.tracing import TraceRules


@subcommand(
    "trace-atoms",
    example="etcli trace-atoms --species Si,O --plot atoms.png volume.mrc atoms.xyz\n"
    "etcli trace-atoms --species Si --refine views.mrc --report structure volume.mrc atoms.xyz",
    references=(
        "Ren, Ophus, Chen & Waller, Ultramicroscopy 208, 112860 (2020): Gaussians with neighbours taken off.",
        "Yang et al., Nature 542, 75 (2017): classification and refinement of atoms.",
        "Yang et al., Nature 592, 60 (2021): atomic electron tomography of amorphous solids.",
    ),
)
@input_argument
@output_argument
@trace_options
@refine_options
@click.option(
    "--halves",
    nargs=2,
    type=FILE,
    metavar="ODD EVEN",
    help="Volumes of half of the views each (recon --half-sets): errors of positions from their differences.",
)
@click.option(
    "--report", type=FILE, metavar="FOLDER", help="Write distances, bonds, angles and coordination there."
)
@json_option
@plot_option
@pass_settings
def command(
    settings: Settings,
    input: str,
    output: str,
    make_rules: "Callable[[float], TraceRules]",
    species: tuple[str, ...] | int | None,
    fit: str,
    correct_depth: bool,
    refine: str | None,
    euler: str | None,
    hold: Length | str,
    halves: tuple[str, str] | None,
    report: str | None,
    as_json: bool,
    plot: str | None,
) -> None:
    """Find, fit and classify the atoms of a volume at atomic resolution.

    Maxima of the volume are fitted with Gaussians, each with its neighbours taken off; the histogram of how
    strong they are tells atoms from noise, and species. With --refine, positions, amplitudes and widths are
    then refined against the views, as far as views that are left out are better predicted by that; atoms that
    the views show are added, those that they do not show go. Voxels of 0.3 to 0.5 Å are best.

    OUTPUT ends in .xyz (extended XYZ, which OVITO and ASE open), .plain.xyz, .cif or .pdb; positions are in Å
    from the rotation centre, where recon's history places it, or else the middle of the volume. A bare length
    is in Å.
    """
    from etcli.core.atoms.classes import atoms_of, by_polynomials, classified
    from etcli.core.atoms.errors import half_differences_A, position_errors_A
    from etcli.core.atoms.tracing import trace
    from etcli.io.atoms import Box, atoms_format, write_atoms
    from etcli.io.save import Step

    check_picture(plot)
    form = atoms_format(output)
    if not refine and (euler or hold != "auto"):
        raise UsageError("--euler and --hold are for --refine SERIES; name the series")
    if refine and fit == "polynomial":
        raise UsageError("--fit polynomial is for positions from the volume; leave it or --refine out")
    volume, stack, pixel_A = open_volume(settings, input)
    rules = make_rules(pixel_A)
    hold_A = length_A("hold", hold, pixel_A) if isinstance(hold, Length) else None
    frame = frame_of_volume(settings, stack)
    series = oriented_views(settings, refine, euler, stack, frame) if refine else None
    both = half_volumes(settings, halves, stack) if halves else None
    with settings.outputs() as outputs:
        target = outputs.path(output, is_main=True)
        if report:
            outputs.folder(report)  # found out now, not when all is done
        write_picture = announce_picture(outputs, plot) if plot else None
        centre_A = centre_of_volume(stack, frame)
        if centre_A.any():
            x, y, z = centre_A
            settings.console.report(
                f"the middle of the volume is {x:.4g}, {y:.4g}, {z:.4g} Å from the rotation centre (x, y, z)"
            )
        with naming(stack):
            found = trace(volume, pixel_A, rules, threads=settings.threads, progress=settings.console.note)
            found, flipped, drift = classified(found, pixel_A, correct_depth=correct_depth)
        error_A = position_errors_A(found, pixel_A)
        half_A = half_differences_A(found, both, pixel_A) if both else None
        completed = None
        if series:
            completed = refined(settings, found, series, pixel_A, centre_A, hold_A, rules)
        symbols = species if isinstance(species, tuple) else None
        place_A = by_polynomials(found, pixel_A, centre_A) if fit == "polynomial" else None
        atoms = atoms_of(
            found, pixel_A, centre_A, symbols=symbols, error_A=error_A, half_A=half_A, place_A=place_A,
            completed=completed,
        )  # fmt: skip
        numbers = tell(
            settings, found, completed, atoms, flipped=flipped, drift_per_A=drift, half_A=half_A,
            species_given=species is not None,
        )  # fmt: skip
        if not len(atoms):
            raise DataError(f"{input}: no maximum is an atom by its score; lower --threshold to see them")
        step = Step("trace-atoms", f"{len(atoms)} atoms" + (", refined against views" if completed else ""))
        box = Box.of_volume(stack.shape, pixel_A, centre_A=centre_A)
        write_atoms(target, atoms, form=form, box=box, history=(*stack.labels, str(step)))
        if report:
            write_report(settings, outputs, report, atoms, name=PurePath(output).stem)
        if write_picture:
            from etcli.plotting.atoms import traced

            names = symbols or classes_named(len(found.mixture.mean))
            write_picture(traced(found, pixel_A=pixel_A, names=names, centre_A=centre_A))
        if as_json:
            settings.console.data(numbers)
