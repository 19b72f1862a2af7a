"""``etcli info``: print what a file holds."""

from typing import Any

import click

from etcli.cli.options import Settings, json_option, pass_settings, subcommand, tilts_option
from etcli.cli.types import FILE, LENGTH_A
from etcli.core.errors import DataError, UsageError
from etcli.core.lengths import Length

FEW_DEFOCI = 6
"""Up to so many different defoci are listed."""


@subcommand(
    "info",
    example="etcli info series.mrc\netcli info --field tilts series.mrc > series.rawtlt",
    references=(
        "Crowther, DeRosier & Klug, Proc. R. Soc. A 317, 319 (1970): resolution from the tilt step.",
    ),
)
@click.argument("inputs", metavar="INPUT...", nargs=-1, required=True, type=FILE)
@json_option
@click.option(
    "--field",
    "fields",
    multiple=True,
    type=click.Choice(["size", "pixel", "mode", "min", "max", "mean", "origin", "tilts"]),
    help="Print bare numbers for a script. May be repeated: a line per field, one per angle.",
)
@click.option(
    "--diameter",
    type=LENGTH_A,
    help="Diameter of the specimen, for Crowther's resolution.  [default: the field of view]",
)
@click.option(
    "--history",
    is_flag=True,
    help="Print every step that led to the file: version, command line and inputs, for a methods section.",
)
@tilts_option
@pass_settings
def command(
    settings: Settings,
    inputs: tuple[str, ...],
    as_json: bool,
    fields: tuple[str, ...],
    diameter: Length | None,
    history: bool,
    tilts: str | None,
) -> None:
    """Tell what a file holds.

    Size, pixels, tilt angles, dose, statistics and history. Lengths are in Å, angles in degrees, defoci
    in µm (negative for underfocus). Minimum, maximum and mean are those of the header.
    """
    from etcli.pipeline.info import histories, info_files

    if as_json and fields:
        raise UsageError("give --json or --field, not both")
    if history and (as_json or fields):
        raise UsageError("give --history alone; --json has the same as steps")
    if history:
        settings.console.text("\n\n".join(histories(settings.session, inputs, tilts=tilts)))
        return
    if diameter is not None and diameter.value <= 0:
        raise UsageError(f"--diameter {diameter.value:g}{diameter.unit}: give a positive length")
    need_tilts = "tilts" in fields
    facts = info_files(settings.session, inputs, tilts=tilts, diameter=diameter, need_tilts=need_tilts)
    if as_json:
        settings.console.data(facts if len(facts) > 1 else facts[0])
    elif fields:
        lines = [_field_text(fact, field) for fact in facts for field in fields]
        settings.console.text("\n".join(lines))
    else:
        settings.console.text("\n\n".join(_facts_text(fact) for fact in facts))


def _field_text(fact: dict[str, Any], field: str) -> str:
    """Return a field as bare numbers; angles one per line, as in a rawtlt file."""
    value = fact[{"pixel": "pixel_A", "origin": "origin_A", "tilts": "tilt_deg"}.get(field, field)]
    if value is None:
        raise DataError(f"{fact['file']}: its {field} is not known, from its header or the files beside it")
    if field == "tilts":
        return "\n".join(f"{angle:.2f}" if round(angle, 2) == angle else f"{angle:.6f}" for angle in value)
    return " ".join(f"{number:.7g}" for number in (value if isinstance(value, list) else [value]))


def _map_text(known: dict[str, Any]) -> str:
    """Return what a series is a map of, in words."""
    words = [known.get("element"), known.get("line"), known.get("part"), known.get("values")]
    words += [f"sensitivity {known['sensitivity']:g}" if "sensitivity" in known else None]
    return ", ".join(word for word in words if word)


def _facts_text(fact: dict[str, Any]) -> str:
    """Return the facts of a file as readable text."""
    nx, ny, n = fact["size"]
    rows = [("size", f"{nx} x {ny} x {n}")]
    rows.append(("pixel", f"{fact['pixel_A']:.7g} Å" if fact["pixel_A"] else "unknown"))
    if fact["mode"] is not None:
        rows.append(("mode", str(fact["mode"])))
    rows.append(("values", f"{fact['min']:.7g} to {fact['max']:.7g}, mean {fact['mean']:.7g}"))
    tilts = fact["tilt_deg"]
    if tilts:
        rows.append(
            ("tilt angles", f"{len(tilts)}, {min(tilts):g} to {max(tilts):g}°, from {fact['source']}")
        )
    for name, key, unit in (
        ("tilt axis", "axis_deg", "° from +y"),
        ("voltage", "voltage_kv", " kV"),
        (
            "resolution",
            "resolution_A",
            " Å at best by Crowther's criterion (--diameter; see recon --half-sets)",
        ),
    ):
        if fact[key] is not None:
            rows.append((name, f"{fact[key]:g}{unit}"))
    if fact["map"]:
        rows.append(("map", _map_text(fact["map"])))
    dose, defocus = fact["dose_e_A2"], fact["defocus_um"]
    if dose and any(dose):
        rows.append(("dose", f"{sum(one or 0 for one in dose):g} e/Å² in all"))
    if defocus:
        known = [one for one in defocus if one is not None]
        values = sorted({float(f"{one:.4g}") for one in known})
        few = ", ".join(f"{value:g}" for value in values)
        listed = few if len(values) <= FEW_DEFOCI else f"{values[0]:g} to {values[-1]:g}"
        n_tilts = len({round(tilt, 2) for tilt in tilts or ()})
        per_tilt = f" at {n_tilts} tilts" if 1 < n_tilts < len(tilts or ()) else ""
        rows.append(("defocus", f"{listed} µm{per_tilt}"))
    rows += [("label", label) for label in fact["labels"]]
    return "\n".join([fact["file"], *(f"  {name:<12} {text}" for name, text in rows)])
