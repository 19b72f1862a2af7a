"""``etcli entropy``: rank the views of a tilt series by the entropy of their projections."""

from typing import Any

import click

from etcli.cli.entropy_options import OF_PLAN, check_kind, entropy_options
from etcli.cli.options import Settings, json_option, pass_settings, plot_option, subcommand
from etcli.cli.types import FILE


@subcommand(
    "entropy",
    example="etcli entropy --csv entropy.csv --plot entropy.png aligned.mrc\n"
    "etcli entropy --gain 12.5 --select 12 --spread 5 --output best.mrc aligned.mrc\n"
    "etcli entropy --plan diamond:Si:5.431 --diameter 5nm --range -65 65 --select 12 --output angles.tlt",
    references=("Collins et al., Phys. Rev. Lett. 119, 166101 (2017).",),
)
@click.argument("input", metavar="[SERIES]", type=FILE, required=False)
@click.option(
    "--plan",
    type=FILE,
    metavar="MODEL|LATTICE",
    help="Plan a series of a known or guessed model, before the experiment: a file of atoms, or a lattice "
    "such as diamond:Si:5.431.",
)
@click.option(
    "--select",
    type=click.IntRange(1),
    metavar="K",
    help="Choose K views: those of lowest entropy, which may be much alike (--spread keeps them apart); with "
    "--plan, those that together say most.",
)
@click.option(
    "--output",
    type=FILE,
    metavar="FILE",
    help="The chosen views as a new series with its mdoc; with --plan, their angles as .tlt.",
)
@click.option("--csv", type=FILE, metavar="FILE", help="The table: entropies in nats, one row per view.")
@click.option(
    "--form",
    type=click.Choice(["gamma", "stirling"]),
    default="gamma",
    show_default=True,
    help="gamma: the exact number of arrangements. stirling: equation (1) of the paper.",
)
@click.option(
    "--voxels", "n_voxels", type=click.IntRange(2), help="Voxels along a ray.  [default: columns of a view]"
)
@entropy_options
@json_option
@plot_option
@pass_settings
def command(
    settings: Settings,
    /,
    select: int | None,
    spread_deg: float,
    drop: bool,
    as_json: bool,
    input: str | None,
    plan: str | None,
    output: str | None,
    csv: str | None,
    plot: str | None,
    tilts: str | None,
    mask: str | None,
    mode: int,
    **options: Any,
) -> None:
    """Rank the views of a tilt series by the entropy of their projections, or plan a series.

    The entropy is the logarithm of the number of ways to spread the counts of an image along its rays; a
    view of low entropy says much about the specimen. It finds zone axes where atomic columns are resolved:
    at 0.2 nm only the densest ones stand out, and the joint entropy is a little clearer. Entropies depend on
    counts, pixel size and voxels along a ray, so compare them within one series only, unless all of these
    are equal. For a reconstruction, evenly spaced views are often better than the K of lowest entropy.

    --plan predicts the entropies of a model that is known or guessed, finds its zone axes
    (significance: standard deviations of disordered models below the median), and with --select proposes
    tilt angles: not those of lowest entropy alone, but those that together leave the least room for
    the density. A crystal must then be oriented as the model is, to 1°. --output is a file of tilt angles
    (.tlt, .rawtlt).
    """
    from etcli.cli.entropy_table import entropy_table, plan_table

    check_kind(input, plan, select)
    planned = {name: options.pop(name) for name in OF_PLAN}
    lines: list[str]
    if plan is not None:
        from etcli.pipeline.plan_views import PlanRequest, plan_files
        from etcli.pipeline.simulate_atoms import AtomsSeriesRequest

        own = {name: planned.pop(name) for name in ("angles", "step_deg", "pixel", "size")}
        common = {name: options[name] for name in ("n_voxels", "form")}
        request = PlanRequest(AtomsSeriesRequest(plan, **planned), n=select, **own, **common)
        series_plan = plan_files(request, settings.session, output=output, csv=csv, plot=plot)
        numbers, lines = series_plan.numbers, plan_table(series_plan)
    else:
        from etcli.pipeline.entropy import EntropyFiles, EntropyRequest, ViewChoice, entropy_files

        ranking = entropy_files(
            EntropyFiles(str(input), output, tilts, mask, csv, plot, mode),
            EntropyRequest(**options),
            settings.session,
            choice=ViewChoice(select, spread_deg, drop) if select else None,
        )
        numbers, lines = ranking.numbers, entropy_table(ranking)
    if as_json:
        settings.console.data(numbers)
    else:
        settings.console.text("\n".join(lines))
