"""``etcli compare``: compare a file with a reference."""

import click

from etcli.cli.comparison_tables import atoms_table, numbers_table
from etcli.cli.options import Settings, json_option, pass_settings, plot_option, reject_options, subcommand
from etcli.cli.types import BOX, FILE, LENGTH_A
from etcli.core.lengths import Length

METRICS = ("nrmse", "psnr", "ssim", "fsc")
FOR_VOLUMES = ("fit_scale",)
FOR_ATOMS = ("cutoff", "rule", "box", "report")


@subcommand(
    "compare",
    example="etcli compare volume.mrc truth.mrc\n"
    "etcli compare --json --metric fsc --plot fsc.png even.mrc odd.mrc\n"
    "etcli compare --cutoff 0.9 --plot errors.png found.xyz truth.xyz",
    references=(
        "Wang, Bovik, Sheikh & Simoncelli, IEEE Trans. Image Process. 13, 600 (2004): SSIM.",
        "Harauz & van Heel, Optik 73, 146 (1986): Fourier shell correlation.",
        "Ren et al., Ultramicroscopy 208, 112860 (2020): mean error of the atoms found within 1 Å.",
        "Liao et al., Nature (2026), doi:10.1038/s41586-025-09857-4: atoms found, false ones, RMSD.",
        "Kabsch, Acta Cryst. A 34, 827 (1978): rigid alignment.",
    ),
)
@click.argument("a", metavar="A", type=FILE)
@click.argument("b", metavar="B", type=FILE)
@click.option(
    "--metric",
    "metrics",
    type=click.Choice([*METRICS, "labels", "atoms"]),
    multiple=True,
    help="What to compute; may be repeated.  [default: all that suit the files]",
)
@click.option(
    "--fit-scale",
    is_flag=True,
    help="Volumes: first bring A to the scale and level of B, by least squares.",
)
@click.option(
    "--cutoff",
    type=LENGTH_A,
    default="0.75",
    show_default=True,
    help="Atoms: largest distance of two atoms that form a pair, in Å.",
)
@click.option(
    "--rule",
    type=click.Choice(["one-to-one", "nearest"]),
    default="one-to-one",
    show_default=True,
    help="Atoms: whether one atom of A may be paired with several of B.",
)
@click.option(
    "--align",
    is_flag=True,
    help="First rotate and shift the atoms A, or shift the volume A, onto B; the numbers tell by how much.",
)
@click.option(
    "--box",
    type=BOX,
    help="Atoms: compare only those in a box of these full widths in Å about the centre: 34.56,18.76,inf.",
)
@click.option(
    "--report",
    type=click.Path(file_okay=False),
    metavar="FOLDER",
    help="Atoms: write the structure of both, g(r), bonds, coordination, as tables and pictures.",
)
@json_option
@plot_option
@pass_settings
def command(
    settings: Settings,
    a: str,
    b: str,
    metrics: tuple[str, ...],
    fit_scale: bool,
    cutoff: Length,
    rule: str,
    align: bool,
    box: tuple[float, float, float] | None,
    report: str | None,
    as_json: bool,
    plot: str | None,
) -> None:
    """Compare A with the reference B: volumes, series or atoms, recognised by file name.

    nrmse is |A - B| / |B|; psnr (in dB) and ssim take the range of B; fsc gives the resolution in Å at which
    the Fourier shell correlation first falls below 0.5 and 0.143: two pixels where it stays above, none (-,
    in JSON null) where it begins below. The psnr of equal files is infinite (in JSON null). What cannot be
    computed, such as ssim of less than 11 pixels, is left out unless --metric asks for it.

    Volumes made or cropped by etcli are laid over each other as their frames say, and compared in the part
    that both show; JSON has it as part_a and part_b. With --align, A is moved first by shift_x_px, shift_y_px
    and shift_z_px, beyond its frame; without it a displaced volume agrees as little as a wrong one.

    Labels of bodies, those of segment or with --metric labels, are paired with the ones that share most
    voxels with them: dice is the part that both label (1: the same voxels), matched the number of pairs, and
    volume_mean and _rms are of the differences of their volumes, in percent of B.

    Atoms (.xyz, .extxyz, .cif, .pdb) are paired within the cutoff, as many as possible at the least sum of
    squared distances. found, false and missing are percent of the atoms of B; rmsd and mean_error are of the
    distances in pairs, offset is their mean difference A - B, right are pairs of the same element. chance is
    the percentage found for a randomly rotated copy of B: a result close to it means nothing.
    """
    from etcli.pipeline.compare import are_atoms
    from etcli.pipeline.compare_atoms import AtomsRequest, compare_atoms_files
    from etcli.pipeline.compare_volumes import compare_images_files
    from etcli.pipeline.picture_output import check_picture

    check_picture(plot)
    session, console = settings.session, settings.console
    if are_atoms(a, b, metrics):
        reject_options(FOR_VOLUMES, "volumes and series")
        request = AtomsRequest(cutoff.angstrom(None), rule, align, box)
        atoms = compare_atoms_files(session, a, b, request, report=report, plot=plot)
        if as_json:
            console.data(atoms.numbers | atoms.by_species())
        else:
            console.text("\n".join(atoms_table(atoms)))
        return
    reject_options(FOR_ATOMS, "files of atoms")
    images = compare_images_files(session, a, b, metrics=metrics, fit_scale=fit_scale, align=align, plot=plot)
    if as_json:
        console.data(images.numbers | images.parts | images.curve())
    else:
        console.text("\n".join(numbers_table(images.numbers)))
