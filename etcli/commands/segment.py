"""``etcli segment``: label the bodies in a volume."""

from typing import TYPE_CHECKING, Any

import click

from etcli.cli.options import (
    Settings,
    input_argument,
    json_option,
    pass_settings,
    plot_option,
    subcommand,
    tilts_option,
)
from etcli.cli.types import FILE, LENGTH_PX, WordOrLengthType
from etcli.core.lengths import Length

if TYPE_CHECKING:
    from etcli.pipeline.twin import Rebuild


@subcommand(
    "segment",
    example="etcli segment volume.mrc labels.mrc\n"
    "etcli segment --series aligned.mrc --split none porous.mrc labels.mrc\n"
    "etcli segment --method dense --min-size 8 catalyst.mrc metal.mrc\n"
    "etcli segment --mask-out mask.mrc --grow 1px --plot labels.png volume.mrc labels.mrc",
    references=(
        "Otsu, IEEE Trans. Syst. Man Cybern. 9, 62 (1979): otsu.",
        "Liao, Chen & Chung, J. Inf. Sci. Eng. 17, 713 (2001): multi-otsu.",
        "Canny, IEEE Trans. Pattern Anal. Mach. Intell. 8, 679 (1986): hysteresis.",
        "Felzenszwalb & Huttenlocher, Theory Comput. 8, 415 (2012): distances.",
        "Najman & Schmitt, IEEE Trans. Pattern Anal. Mach. Intell. 18, 1163 (1996): splitting by dynamics.",
    ),
)
@input_argument
@click.argument("output", metavar="LABELS", type=FILE)
@click.option(
    "--method",
    metavar="NAME|VALUE",
    help="Threshold: edge (mean level of the steepest places), otsu, multi-otsu (three classes, the lower "
    "threshold), mixture (two normal distributions), dense (the denser of two materials, such as metal on a "
    "support), hysteresis:LOW,HIGH (above LOW, joined to what is above HIGH), a value; with --series twin.  "
    "[default: otsu for separate bodies, edge for one]",
)
@click.option(
    "--global", "one_threshold", is_flag=True, help="One threshold for all labels, never one for each."
)
@click.option(
    "--series",
    type=FILE,
    metavar="FILE",
    help="Views of the volume: correct the threshold by simulating them and reconstructing again (twin).",
)
@tilts_option
@click.option("--smooth", type=LENGTH_PX, help="First smooth with a Gaussian of this standard deviation.")
@click.option(
    "--split",
    type=WordOrLengthType("px", "none"),
    default="0.75px",
    show_default=True,
    help="Part bodies at necks that are narrower, in radius, by this; 0.5px parts more; none.",
)
@click.option(
    "--min-size", type=click.IntRange(1), default=20, show_default=True, help="Fewest voxels of a label."
)
@click.option("--fill-holes", is_flag=True, help="Make enclosed background solid.")
@click.option(
    "--mask",
    type=FILE,
    metavar="FILE",
    help="Label only where this volume is above zero; a named --method also finds the threshold in there.",
)
@click.option(
    "--mask-out",
    type=FILE,
    metavar="FILE",
    help="Also write the labels, grown, as a mask for recon --mask; they must be all that the views show.",
)
@click.option(
    "--grow", type=LENGTH_PX, help="By how much --mask-out is larger than the labels.  [default: 1px]"
)
@click.option("--invert", is_flag=True, help="Label what is darker: pores, or a dark specimen.")
@json_option
@plot_option
@pass_settings
def command(
    settings: Settings,
    /,
    method: str | None,
    split: Length | str,
    as_json: bool,
    **given: Any,
) -> None:
    """Label the bodies in a volume, from 1 on by falling volume; 0 is the background.

    Without --method, bodies apart from each other are found by Otsu's threshold and split where they touch;
    then each gets a threshold of its own, half way from what surrounds it to its core, so that bodies of
    different density are measured alike. One body that holds most of the solid, such as a porous particle,
    gets the threshold edge, unless there are lighter bodies beside it. --global (then by default with edge)
    and a given value are for all labels; a warning tells if these have several densities. A body with a
    denser material on it or in it is told: --method dense labels that material, each body half way from the
    support to its core.

    With --series, the threshold of a specimen of one density is tested on a twin: the segmented volume is
    projected, given noise like that of the views, reconstructed by the command in the history of the volume,
    and the threshold is where that reconstruction has the volume that was put in.

    --split parts bodies that touch; a network, one piece of many struts, is to be left whole by --split none.
    The mask of --mask may have another order of axes. To find a material in a support, name a --method with
    it; the mask that --mask-out writes needs none, as the threshold is then that of the whole volume.

    Pieces under --min-size are left out and counted. Which labels the border cuts, and how wide cut necks
    are, is in JSON. Labels are 16-bit whole numbers (MRC mode 6), above 65535 of them in mode 2.
    """
    from etcli.pipeline.segment import SegmentFiles, segment_files
    from etcli.pipeline.segment_request import request_of

    names = ("input", "output", "series", "tilts", "mask", "mask_out", "grow", "plot")
    files = SegmentFiles(**{name: given.pop(name) for name in names})
    request = request_of(method=method, series=files.series, split=split, **given)
    rebuild = _recorded(settings, files.input) if files.series else None
    numbers = segment_files(settings.session, files, request, rebuild=rebuild)
    if as_json:
        settings.console.data(numbers)


def _recorded(settings: Settings, volume: str) -> "Rebuild":
    """Return a function that runs the command that a volume was reconstructed with on another series."""
    from etcli.commands.recon import command as recon
    from etcli.pipeline.recorded_reconstruction import recorded_words, with_files

    words = recorded_words(volume)
    context = click.Context(recon, info_name="recon", resilient_parsing=True)
    options, _, _ = recon.make_parser(context).parse_args(list(words))
    kept: list[str] = []
    for param in recon.params:
        value = options.get(param.name or "")
        if isinstance(param, click.Option) and value is not None:
            kept += [param.opts[-1], *([] if param.is_flag else map(str, _as_list(value)))]

    def run(arguments: list[str]) -> None:
        from etcli.cli.console import Console

        quiet = Settings(
            Console("recon", verbosity=-1),
            device=settings.device,
            threads=settings.session.threads,
            memory=settings.session.memory,
        )
        recon.main(arguments, prog_name="etcli recon", standalone_mode=False, obj=quiet)

    return with_files(volume, kept, run)


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, tuple) else [value]
