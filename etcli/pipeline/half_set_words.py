"""Agreement of two half-sets in words, with what was assumed, for `recon` and `compare`."""

from math import isfinite

from etcli.core.quality import FSC, last_agreement_A, resolution_A
from etcli.pipeline.session import Session


def report_half_sets(
    session: Session, shells: FSC, pixel_A: float | None, wedge_deg: tuple[float, float] | None
) -> None:
    """Report to which resolution half-sets agree, and how that was found."""
    unit = "Å" if pixel_A else "px"
    half, least = (
        _resolution_words(resolution_A(shells, threshold=level), pixel_A or 1.0, unit)
        for level in (0.5, 0.143)
    )
    where = f" outside the missing wedge of {wedge_deg[1]:.3g}°" if wedge_deg else ""
    session.reporter.report(
        f"half-sets agree to {least} (Fourier shell correlation 0.143; {half} at 0.5){where}, faded out at "
        "the sides"
    )
    again = last_agreement_A(shells, threshold=0.143)
    if again is not None:
        session.reporter.report(
            f"the correlation is above 0.143 again further out, up to {again:.4g} {unit}: shells that the "
            "specimen leaves empty, as layers do, tell nothing, so the resolution may be better"
        )


def agreement_words(shells: FSC, pixel_A: float | None) -> tuple[str, ...]:
    """Return to which resolution half-sets agree, in ASCII for the history."""
    found = resolution_A(shells, threshold=0.143)
    return (f"half-sets agree to {_resolution_words(found, pixel_A or 1.0, 'A' if pixel_A else 'px')}",)


def _resolution_words(found: float | None, pixel_A: float, unit: str) -> str:
    """Return the resolution to which two volumes agree, in words."""
    if found is None:
        return f"better than {2 * pixel_A:.4g} {unit}"
    return f"{found:.4g} {unit}" if isfinite(found) else "nothing"
