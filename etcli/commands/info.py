"""``etcli info``: print what a file holds."""

from typing import Any

import click

from etcli.cli.options import Settings, json_option, pass_settings, subcommand, tilts_option
from etcli.cli.types import FILE, LENGTH_A
from etcli.core.errors import DataError, UsageError
from etcli.core.lengths import Length

FEW_DEFOCI = 6
"""Up to so many different defoci are listed."""
LABEL_LENGTH = 80
"""Letters of a step that a header holds as a label."""


@subcommand(
    "info",
    example="etcli info series.mrc\n"
    "etcli info --field tilts series.mrc > series.rawtlt\n"
    "etcli info atoms.xyz",
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

    Of images: size, pixels, type, tilt angles, dose, statistics and history. Lengths are in Å, angles in
    degrees, defoci in µm (negative for underfocus). Minimum, maximum and mean are those of the header. Of
    spectrum images (.hspy, .emd, .dm4, .npz): also the energy axis, the detector and the counts. Of atoms
    (.xyz, .cif, .pdb): number, elements, extent from the rotation centre, cell and history. With --json,
    labels are those of the header, history the steps of etcli in short, and steps the version, command line
    and inputs of each. Of several files, those that can be read are told before the error.
    """
    from functools import partial

    from etcli.pipeline.info import histories, info_files, of_each

    if as_json and fields:
        raise UsageError("give --json or --field, not both")
    if history and (as_json or fields):
        raise UsageError("give --history alone; --json has the same as steps")
    if diameter is not None and diameter.value <= 0:
        raise UsageError(f"--diameter {diameter.value:g}{diameter.unit}: give a positive length")
    tell = partial(info_files, diameter=diameter, need_tilts="tilts" in fields)
    facts, error = of_each(inputs, partial(histories if history else tell, settings.session, tilts=tilts))
    if as_json and facts:
        settings.console.data(facts if len(inputs) > 1 else facts[0])
    elif fields and facts:
        atoms = [fact["file"] for fact in facts if "atoms" in fact]
        if atoms:
            raise UsageError(f"{atoms[0]}: --field is for images; --json tells everything about atoms")
        lines = [_field_text(fact, field) for fact in facts for field in fields]
        settings.console.text("\n".join(lines))
    elif facts:
        settings.console.text("\n\n".join(facts if history else map(_text, facts)))
    if error:
        raise error


def _found_words(fact: dict[str, Any]) -> str:
    """Return where register found the tilt axis, if the views have not been aligned to it."""
    found = fact["registered_axis"]
    if not found:
        return ""
    place = f"{found['deg']:.2f}°, {found['offset_px']:.4g} px off the centre"
    return f" in the description; register found it at {place} (tiltalign aligns the views to it)"


def _extent_words(diameter_A: float | None) -> str:
    """Return the diameter that Crowther's resolution is for; a narrower specimen is resolved better."""
    return f"of {diameter_A:g} Å" if diameter_A else "as wide as the view (--diameter for a narrower one)"


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


def _text(fact: dict[str, Any]) -> str:
    """Return the facts of a file as readable text."""
    from etcli.cli.spectrum_rows import spectrum_rows

    rows = _atoms_rows(fact) if "atoms" in fact else []
    rows = rows or (spectrum_rows(fact) if "spectra" in fact else _image_rows(fact))
    known = {label[:LABEL_LENGTH].rstrip() for label in fact.get("labels", ())}
    rows += [("step", step) for step in fact["history"] if step[:LABEL_LENGTH].rstrip() not in known]
    return "\n".join([fact["file"], *(f"  {name:<12} {text}" for name, text in rows)])


def _atoms_rows(fact: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the facts of a file of atoms."""
    species = ", ".join(f"{symbol} {n}" for symbol, n in fact["elements"].items())
    ends = zip("xyz", fact["extent_A"], strict=True)
    rows = [("atoms", str(fact["atoms"])), ("elements", species)]
    rows.append(("extent", ", ".join(f"{axis} {low:g} to {high:g}" for axis, (low, high) in ends) + " Å"))
    if fact["cell_A"]:
        edges = fact["cell_A"]
        upright = all(edges[i][j] == 0 for i in range(3) for j in range(3) if i != j)
        vectors = [f"({x:g}, {y:g}, {z:g})" for x, y, z in edges]
        sides = [f"{edges[k][k]:g}" for k in range(3)] if upright else vectors
        corner = ", ".join(f"{length:g}" for length in fact["cell_origin_A"])
        rows.append(("cell", f"{(' x ' if upright else ' ').join(sides)} Å, from ({corner})"))
    rows += [("columns", ", ".join(fact["columns"]))] if fact["columns"] else []
    rows += [("note", f"{name}: {text}") for name, text in fact["notes"].items()]
    return rows + ([("comment", fact["comment"])] if fact["comment"] else [])


def _empty_words(empty: list[int], n_views: int) -> str:
    """Return which views hold one value only."""
    from etcli.core.arguments import as_ranges

    if len(empty) == n_views:
        return "all views hold one value only"
    return f"{as_ranges(empty)} hold one value only, as if not recorded (stack --exclude)"


def _image_rows(fact: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the facts of a file of images."""
    nx, ny, n = fact["size"]
    rows = [("size", f"{nx} x {ny} x {n}")]
    rows.append(("pixel", f"{fact['pixel_A']:.7g} Å" if fact["pixel_A"] else "unknown"))
    mode, of_numbers = fact["mode"], fact["type"]
    rows.append(("type", of_numbers) if mode is None else ("mode", f"{mode} ({of_numbers})"))
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
            " Å by Crowther's criterion for a specimen " + _extent_words(fact["diameter_A"]),
        ),
    ):
        if fact[key] is not None:
            rows.append((name, f"{fact[key]:g}{unit}{_found_words(fact) if key == 'axis_deg' else ''}"))
    rows += [("empty", _empty_words(fact["empty_views"], n))] if fact["empty_views"] else []
    rows += [("map" if tilts else "shows", _map_text(fact["map"]))] if fact["map"] else []
    how = fact["segmentation"]
    rows += [("bodies", f"labels 1 to {fact['max']:g}: {how}")] if how else []
    dose, defocus = fact["dose_e_A2"], fact["defocus_um"]
    if dose and any(dose):
        rows.append(("dose", f"{sum(one or 0 for one in dose):g} e/Å² in all"))
    if defocus:
        known = [one for one in defocus if one is not None]
        values = list(dict.fromkeys(float(f"{one:.4g}") for one in known))
        few = ", ".join(f"{value:g}" for value in values)
        listed = few if len(values) <= FEW_DEFOCI else f"{min(values):g} to {max(values):g}"
        n_tilts = len({round(tilt, 2) for tilt in tilts or ()})
        per_tilt = f" at {n_tilts} tilts" if 1 < n_tilts < len(tilts or ()) else ""
        rows.append(("defocus", f"{listed} µm{per_tilt}"))
    return rows + [("label", label) for label in fact["labels"]]
