"""Rows of ``etcli info`` about spectrum images."""

from typing import Any


def spectrum_rows(fact: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the facts of a file of spectrum images as names and texts."""
    nx, ny, n = fact["size"]
    known = fact["spectra"]
    rows = [("size", f"{nx} x {ny} x {n}, {known['channels']} channels")]
    rows.append(("pixel", f"{fact['pixel_A']:.7g} Å" if fact["pixel_A"] else "unknown"))
    ends = f"{known['offset_eV']:.7g} to {known['last_eV']:.7g} eV"
    rows.append(("energy", f"{ends} in steps of {known['dispersion_eV']:.7g} eV"))
    width = known["fwhm_Mn_Ka_eV"]
    words = [known["kind"], known["detector"], f"FWHM {width:g} eV at Mn Kα" if width else None]
    if any(words):
        rows.append(("spectra", ", ".join(word for word in words if word)))
    rows.append(("values", f"{fact['type']}, {fact['min']:.7g} to {fact['max']:.7g}"))
    rows.append(("counts", f"{known['counts']:.9g}, {known['counts_per_spectrum']:.4g} a spectrum"))
    if n > 1:
        views = known["counts_of_views"]
        rows.append(("a view", f"{min(views):.7g} to {max(views):.7g} counts"))
    tilts = fact["tilt_deg"]
    if tilts:
        ends = f"{min(tilts):g} to {max(tilts):g}°" if n > 1 else f"{tilts[0]:g}°"
        rows.append(("tilt angles", f"{len(tilts)}, {ends}, from {fact['source']}"))
    if fact["voltage_kv"] is not None:
        rows.append(("voltage", f"{fact['voltage_kv']:g} kV"))
    return rows
