"""Error curve of a reconstruction as a CSV table."""

from pathlib import Path

from etcli.core.reconstruction.cross_validation import ValidationCurve
from etcli.core.reconstruction.slab_by_slab import ErrorCurve


def write_error_curve(path: Path, errors: ErrorCurve, left_out: ValidationCurve | None) -> None:
    """Write the residual after each iteration, as far as it is known.

    Parameters
    ----------
    path : Path
        A CSV file with the columns ``iteration``, ``residual`` and ``left_out``.
    errors : ErrorCurve
        Residual of all views.
    left_out : ValidationCurve or None
        Error of the left-out views.
    """
    rows: dict[int, list[str]] = {}
    for k, residual in zip(errors.iteration.tolist(), errors.residual.tolist(), strict=True):
        rows[k] = [f"{residual:.9g}", ""]
    if left_out:
        for k, error in zip(left_out.tried.astype(int).tolist(), left_out.error.tolist(), strict=True):
            rows.setdefault(k, ["", ""])[1] = f"{error:.9g}"
    lines = [",".join([str(k), *rows[k]]) for k in sorted(rows)]
    text = "\n".join(["iteration,residual,left_out", *lines, ""])
    path.write_text(text, encoding="ascii", newline="\n")
