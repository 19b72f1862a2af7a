"""``etcli recon``: reconstruct the volume."""

from typing import TYPE_CHECKING, Any

import click

from etcli.cli.options import (
    Settings,
    defocus_option,
    input_argument,
    output_argument,
    pass_settings,
    series_options,
    subcommand,
)
from etcli.cli.reconstruction_options import reconstruction_options
from etcli.cli.types import FILE, VIEWS
from etcli.core.arguments import listed
from etcli.core.solvers.methods import OWNERS, methods_for_any_orientation

if TYPE_CHECKING:
    from etcli.pipeline.reconstruction_request import ReconstructionRequest


@subcommand(
    "recon",
    example="etcli recon --method sirt --iterations 50 --nonnegative aligned.mrc volume.mrc\n"
    "etcli recon --method fbp --filter hann --thickness 80nm aligned.mrc volume.mrc\n"
    "etcli recon --method multislice --kv 300 --thickness 32A focal_tilts.mrc potential.mrc",
    references=(
        "Gilbert, J. Theor. Biol. 36, 105 (1972): SIRT.",
        "Andersen & Kak, Ultrasonic Imaging 6, 81 (1984): SART.",
        "Shepp & Vardi, IEEE Trans. Med. Imaging 1, 113 (1982): MLEM.",
        "Hestenes & Stiefel, J. Res. Natl. Bur. Stand. 49, 409 (1952): CGLS.",
        "Kak & Slaney, Principles of Computerized Tomographic Imaging, chapter 3 (1988): FBP.",
        "Joseph, IEEE Trans. Med. Imaging 1, 192 (1982): linear projection kernel.",
        "Batenburg & Sijbers, IEEE Trans. Image Process. 20, 2542 (2011): DART.",
        "Yang et al., Nature 592, 60 (2021): RESIRE.",
        "Beck & Teboulle, IEEE Trans. Image Process. 18, 2419 (2009): FISTA, total variation.",
        "Ren, Ophus, Chen & Waller, Ultramicroscopy 208, 112860 (2020): multislice.",
    ),
    on_gpu=True,
)
@input_argument
@output_argument
@reconstruction_options
@click.option(
    "--euler",
    type=FILE,
    metavar="FILE",
    help="Orientations of the views, CSV of phi,theta,psi in degrees (theta is minus the tilt angle), for "
    f"{listed(methods_for_any_orientation())}.",
)
@click.option(
    "--mask",
    type=FILE,
    metavar="FILE",
    help=f"Mask of {listed(OWNERS['mask'], 'or')}: voxels outside, where it is zero, stay zero.",
)
@click.option(
    "--initial",
    type=FILE,
    metavar="FILE",
    help=f"Volume from which {listed(OWNERS['initial'], 'or')} start.",
)
@click.option(
    "--flat-field",
    type=FILE,
    metavar="FILE",
    help=f"{listed(OWNERS['flat_field'])}: image of an even illumination, by which the images are divided.",
)
@click.option("--views", type=VIEWS, help="Views to use, counted from 1: 1,4-7,60.")
@click.option("--exclude", type=VIEWS, help="Views to leave out, counted from 1.")
@click.option(
    "--view-weights",
    type=FILE,
    metavar="FILE",
    help="Weights of the views of INPUT, one positive number per line.",
)
@click.option(
    "--error-curve",
    type=FILE,
    metavar="FILE",
    help="Write the residual after every iteration, and that of left-out views, as CSV.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Keep finished slabs (multislice: the state after every sweep) in OUTPUT.resume until all is done, "
    "and resume from those of an earlier run.",
)
@click.option(
    "--dask",
    metavar="ADDRESS",
    help="Compute on a Dask cluster with access to the same files: address or file of its scheduler.",
)
@click.option(
    "--axis",
    "axis_deg",
    type=float,
    metavar="DEGREES",
    help="Angle from +y to the tilt axis, if the file has a wrong one: 0 where the views are upright.",
)
@defocus_option
@series_options
@pass_settings
def command(settings: Settings, /, request: "ReconstructionRequest", as_json: bool, **files: Any) -> None:
    """Reconstruct the volume of an aligned tilt series.

    The tilt axis must be vertical and central, as tiltalign leaves it. The volume has the density that,
    summed along a ray in voxels, gives the view. It is computed slab by slab under --memory; fista, and views
    of any orientation, take the whole of it at once. A bare length is in Å, a bare offset in pixels.

    Which part of the views its projections leave unexplained is printed, with and without noise, of the
    brightest 16 rows (or all, of any orientation). It is high where alignment, axis or angles are wrong, but
    not where the sign of all angles is: the volume is a mirror image then.

    With --likelihood poisson the weight is found on parts of the counts that decompose or xform --parts wrote
    beside INPUT (map_Ni_train.mrc, map_Ni_test.mrc); without these, whole counts are divided.

    multislice takes phase-contrast images, in units of the vacuum, at one or more known defoci per tilt, and
    gives the electrostatic potential in volts.
    """
    from etcli.pipeline.reconstruct import ReconstructionFiles, reconstruct_files

    numbers = reconstruct_files(ReconstructionFiles(**files), request, settings.session)
    if as_json:
        settings.console.data(numbers)
