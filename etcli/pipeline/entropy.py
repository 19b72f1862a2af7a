"""Ranking of the views of a series by the entropy of their projections, in memory or from file to file."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.arguments import check_choice, checked_integer, checked_number
from etcli.core.entropy.counts import CountConversion, CountedView
from etcli.core.entropy.projection import FORMS
from etcli.core.entropy.ranking import BITS_PER_NAT, ViewEntropies, view_entropies
from etcli.core.errors import UsageError
from etcli.core.registration.transforms import lies_along_x
from etcli.core.series import TiltSeries, Volume
from etcli.io.tables import write_table
from etcli.io.writers import ProcessingStep, expect_images, series_writer
from etcli.pipeline.background_level import background_level, checked_background
from etcli.pipeline.first_look import first_look
from etcli.pipeline.inputs import file_named_in_errors, read_series, read_volume
from etcli.pipeline.picture_output import announce_picture, check_picture
from etcli.pipeline.session import Session, with_one_blas_thread
from etcli.pipeline.text_output import check_text_names
from etcli.pipeline.view_selection import as_mask

MOST_LEANING_DEG = 2.0
"""Angle of the tilt axis up to which the rows of views at 90° belong together."""
MOST_COUNTS, MOST_VOXELS = 1e15, 10**9
"""Beyond these, differences of gamma functions are lost to rounding."""
MANY_NEGATIVE = 0.01
"""Share of negative pixels of which the user is told."""


@dataclass(frozen=True)
class EntropyRequest:
    """Options of a ranking by entropy, named as those of ``etcli entropy``.

    Parameters
    ----------
    by : {"alone", "joint"}
        Entropy to rank by: that of the view, or given its partner at 90°.
    form : {"gamma", "stirling"}
        Exact, or equation (1) of the paper.
    as_counts : bool
        Whether values are counts already: nothing is subtracted, divided or scaled.
    background : float or {"auto", "none"}
        Value of a pixel without electrons.
    gain : float
        Value per electron.
    total : float or {"median", "none"}
        Counts to which every view is scaled.
    factor : int
        Edge of the bins in pixels, in which counts are summed.
    n_voxels : int or None
        Voxels along a ray; None for the width of a view.
    tolerance_deg : float
        Largest deviation of a partner from 90°.
    interpolate : bool
        Whether the partner is interpolated to exactly 90°.
    percentile : float
        Percentile of a row that counts as its maximum.
    bootstrap : int
        Images drawn for the standard deviations; 0 for none.
    seed : int
        Seed of these.
    """

    by: str = "alone"
    form: str = "gamma"
    as_counts: bool = False
    background: float | str = "auto"
    gain: float = 1.0
    total: float | str = "median"
    factor: int = 1
    n_voxels: int | None = None
    tolerance_deg: float = 1.5
    interpolate: bool = False
    percentile: float = 100.0
    bootstrap: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("ranking", self.by, ("alone", "joint"))
        check_choice("form of the entropy", self.form, FORMS)
        object.__setattr__(self, "background", checked_background(self.background))
        for name in ("gain", "percentile", "tolerance_deg"):
            object.__setattr__(self, name, checked_number(name, getattr(self, name)))
        for name in ("factor", "bootstrap", "seed", *(["n_voxels"] if self.n_voxels is not None else [])):
            object.__setattr__(self, name, checked_integer(name, getattr(self, name)))
        if not self.gain > 0:
            raise UsageError(f"--gain {self.gain:g}: an electron adds more than 0 to a value")
        if isinstance(self.total, str):
            check_choice("total", self.total, ("median", "none"))
        elif not 0 < checked_number("total", self.total, or_else="'median' or 'none'") <= MOST_COUNTS:
            raise UsageError(
                f"--total {self.total:g}: give a number of counts above 0, up to {MOST_COUNTS:g}"
            )
        if self.factor < 1 or self.seed < 0 or self.tolerance_deg < 0:
            raise UsageError("--bin is 1 or more, --seed and --tolerance are 0 or more")
        if self.n_voxels is not None and self.n_voxels > MOST_VOXELS:
            raise UsageError(f"--voxels {self.n_voxels}: give {MOST_VOXELS} or fewer")
        if not 0 < self.percentile <= 100:
            raise UsageError(f"--row-maximum {self.percentile:g}: a percentile is above 0 and at most 100")
        if self.as_counts and (self.background != "auto" or self.gain != 1 or self.total != "median"):
            raise UsageError(
                "--as-counts uses values as they are; leave --background, --gain and --total out"
            )


@dataclass(frozen=True)
class EntropyFiles:
    """Files of a ranking, named as the options of ``etcli entropy``."""

    input: str
    output: str | None = None
    tilts: str | None = None
    mask: str | None = None
    csv: str | None = None
    plot: str | None = None
    mode: int = 2


@dataclass(frozen=True)
class ViewChoice:
    """Number of views to choose by entropy, and how.

    Parameters
    ----------
    n : int
        Number of views of the lowest entropy.
    spread_deg : float
        Least difference of their tilt angles.
    drop : bool
        Whether these are the views to leave out.
    """

    n: int
    spread_deg: float = 0.0
    drop: bool = False


@dataclass(frozen=True, eq=False)
class EntropyRanking:
    """Views of a series, ranked by entropy.

    Parameters
    ----------
    series : TiltSeries
        The series that was ranked.
    entropies : ViewEntropies
        Entropies and partners of its views.
    request : EntropyRequest
        What was asked for.
    choices : dict of str to value
        How values became counts, and the numbers of the views that were written, from 1.
    """

    series: TiltSeries
    entropies: ViewEntropies
    request: EntropyRequest
    choices: dict[str, Any] = field(default_factory=dict)

    @property
    def ranks(self) -> NDArray[np.intp]:
        """Rank of each view from 1, the lowest entropy first."""
        return self.entropies.ranks(self.request.by)

    def select(self, n: int, *, spread_deg: float = 0.0, drop: bool = False) -> list[int]:
        """Choose views.

        Parameters
        ----------
        n : int
            Number of views of the lowest entropy.
        spread_deg : float
            Least difference of their tilt angles.
        drop : bool
            Whether to return the other views.

        Returns
        -------
        list of int
            Views in the order of the series, from 0.

        Raises
        ------
        UsageError
            When there are not so many.
        """
        chosen = self.entropies.select(n, by=self.request.by, spread_deg=spread_deg)
        if not drop:
            return sorted(chosen)
        kept = sorted(set(range(len(self.series))) - set(chosen))
        if not kept:
            raise UsageError(f"dropping {n} views leaves none; drop fewer")
        return kept

    @property
    def table(self) -> dict[str, Any]:
        """Columns of the table, one row per view, in the order of the series."""
        found = self.entropies
        cube = float(found.n_voxels) ** 3
        columns = {
            "view": np.arange(1, len(found) + 1),
            "tilt_angle_deg": found.tilt_deg,
            "rank": self.ranks,
            "S": found.entropy_nat,
            "S_per_N3": found.entropy_nat / cube,
            "zero_fraction": found.zero_fraction,
            "partner_angle_deg": found.partner_deg,
            "S_joint": found.joint_nat,
            "S_joint_per_N3": found.joint_nat / cube,
            "total_counts": found.total_counts,
        }
        if found.sd_nat is not None and found.joint_sd_nat is not None:
            columns |= {"S_sd": found.sd_nat, "S_joint_sd": found.joint_sd_nat}
        return columns

    @property
    def numbers(self) -> dict[str, Any]:
        """The numbers of the run, for ``--json``."""
        found, columns = self.entropies, self.table
        square = float(found.n_voxels) ** 2
        more = {
            "S_per_N2": found.entropy_nat / square,
            "S_bits": found.entropy_nat * BITS_PER_NAT,
            "S_joint_per_N2": found.joint_nat / square,
            "S_joint_bits": found.joint_nat * BITS_PER_NAT,
            "negative_fraction": found.negative_fraction,
            "recorded_counts": found.recorded_counts,
            "level": found.level,
        }
        views = [
            dict(zip(columns | more, row, strict=True))
            for row in zip(
                *(np.asarray(column).tolist() for column in (columns | more).values()), strict=True
            )
        ]
        return {"n_voxels": found.n_voxels, "form": self.request.form, **self.choices, "views": views}


def entropy(
    series: TiltSeries,
    *,
    mask: Volume | NDArray[Any] | None = None,
    session: Session | None = None,
    **options: Any,
) -> EntropyRanking:
    """Rank the views of a tilt series by the entropy of their projections.

    The views of lowest entropy say most about the specimen, as far as atomic columns are resolved.

    Parameters
    ----------
    series : TiltSeries
        Dark-field images. For joint entropies, views must be registered along a vertical tilt axis.
    mask : Volume or ndarray of shape (ny, nx) or (1, ny, nx), optional
        Pixels that show the specimen, not zero. The background is then the mean outside.
    session : Session, optional
        Threads and reporter; `Session()` by default.
    **options
        Fields of `etcli.pipeline.entropy.EntropyRequest`.

    Returns
    -------
    EntropyRanking

    Raises
    ------
    DataError
        When there are no tilt angles, no view has counts, or a mask does not fit.
    UsageError
        When an option is not valid.

    Examples
    --------
    >>> import numpy as np, etcli
    >>> rows = np.random.default_rng(1).permutation(64).reshape(8, 8) > 55
    >>> views = np.stack([1.0 + np.eye(8), 8.0 * rows])
    >>> ranking = etcli.entropy(etcli.TiltSeries.of(views, [0, 90]), as_counts=True)
    >>> ranking.ranks.tolist()
    [2, 1]
    """
    support = None if mask is None else np.asarray(mask.images() if isinstance(mask, Volume) else mask)
    return rank_views(session or Session(), series, EntropyRequest(**options), support=support)


@with_one_blas_thread
def rank_views(
    session: Session, series: TiltSeries, request: EntropyRequest, *, support: NDArray[Any] | None = None
) -> EntropyRanking:
    """Rank the views of a series as requested; see `entropy`."""
    tilt_deg = series.tilt_deg  # raises an error for a series without tilt angles
    conversion, choices = _conversion(session, series, request, support)

    along_x = lies_along_x(series.axis_deg or 0.0)
    oriented = series.views.euler_deg is not None

    def counted(k: int) -> CountedView:
        view = conversion.counts(series.view(k), k)
        return replace(view, counts=view.counts.T) if along_x else view

    leaning_deg = (series.axis_deg or 0.0) - (90.0 if along_x else 0.0)
    if abs((leaning_deg + 90) % 180 - 90) > MOST_LEANING_DEG:
        session.reporter.warn(
            f"{series.name}: the tilt axis is at {series.axis_deg:g}°; joint entropies need it vertical, as "
            "tiltalign turns it"
        )
    if oriented:
        session.reporter.report("views of any orientation have no partners, and no joint entropy")

    total: float | str | None = None if request.as_counts or request.total == "none" else request.total
    with (
        file_named_in_errors(series),
        session.reporter.progress(2 * len(series), "entropy of views") as advance,
    ):
        found = view_entropies(
            counted,
            tilt_deg,
            n_voxels=request.n_voxels,
            form=request.form,
            total=total,
            tolerance_deg=-1.0 if oriented else request.tolerance_deg,
            interpolate=request.interpolate and not oriented,
            percentile=request.percentile,
            bootstrap=request.bootstrap,
            seed=request.seed,
            threads=session.threads,
            progress=advance,
        )
    if total is not None:
        choices["total_counts"] = float(found.total_counts.max())
    ranking = EntropyRanking(series, found, request, choices)
    _report(session, ranking)
    return ranking


def entropy_files(
    files: EntropyFiles, request: EntropyRequest, session: Session, *, choice: ViewChoice | None = None
) -> EntropyRanking:
    """Rank the views of a file, and write table, picture and the views chosen.

    Parameters
    ----------
    files : EntropyFiles
    request : EntropyRequest
    session : Session
    choice : ViewChoice, optional
        The views to write to the output.

    Returns
    -------
    EntropyRanking

    Raises
    ------
    DataError, UsageError
        As for `entropy`; no output is written then.
    """
    if (choice is None) != (files.output is None):
        raise UsageError("--select and --output go together: the number of views and the file for them")
    check_picture(files.plot)
    check_text_names(table=files.csv)
    series = read_series(session, files.input, tilts=files.tilts)
    support = read_volume(session, files.mask).images() if files.mask else None
    with session.outputs() as outputs:
        if files.output:
            expect_images(outputs, files.output)
        table_file = outputs.path(files.csv) if files.csv else None
        write_picture = announce_picture(outputs, files.plot) if files.plot else None
        ranking = rank_views(session, series, request, support=support)
        if table_file:
            write_table(table_file, ranking.table)
        if write_picture:
            from etcli.plotting.entropy import entropy_curve

            found = ranking.entropies
            figure = entropy_curve(
                found.tilt_deg,
                found.entropy_nat,
                found.joint_nat,
                n_voxels=found.n_voxels,
                sd_nat=found.sd_nat,
                joint_sd_nat=found.joint_sd_nat,
                chosen=ranking.select(choice.n, spread_deg=choice.spread_deg) if choice else (),
            )
            write_picture(figure)
        if choice and files.output:
            kept = ranking.select(choice.n, spread_deg=choice.spread_deg, drop=choice.drop)
            part = series.select(kept)
            how = "without" if choice.drop else "of"
            words = f"{how} the {choice.n} lowest entropies of {len(series)} views ({request.by})"
            step = ProcessingStep("entropy", words)
            with series_writer(outputs, files.output, part, step=step, mode=files.mode) as writer:
                for k in range(len(part)):
                    writer.write_section(k, part.view(k))
            session.reporter.report(f"{len(kept)} views in {files.output}: {_listed(kept)}")
            written = {"written_views": [k + 1 for k in kept]}
            ranking = replace(ranking, choices=ranking.choices | written)
    return ranking


def _conversion(
    session: Session, series: TiltSeries, request: EntropyRequest, support: NDArray[Any] | None
) -> tuple[CountConversion, dict[str, Any]]:
    """Return how values become counts, and the same in words for scripts."""
    look = first_look(session, series, rims=request.background == "auto" and not request.as_counts)
    mask = None if support is None else as_mask(support)
    if request.as_counts:
        as_recorded = {"counts": "as recorded", "background": None, "total_counts": None}
        return CountConversion(factor=request.factor, support=mask, clip=False), as_recorded
    # without pixels outside the mask, the level is looked for as without a mask
    outside = mask is not None and not mask.all() and request.background == "auto"
    level = None if outside else background_level(session, series, request.background, look=look)
    if level is None and not outside and request.background == "auto":
        session.reporter.warn(
            f"{series.name}: counts contain the background, which hides zone axes; give its level with "
            "--background, or a --mask; a bright-field series has none"
        )
    choices: dict[str, Any] = {
        "counts": f"(value - background) / {request.gain:g}",
        "background": "mean outside the mask" if outside else level,
        "total_counts": None,
    }
    return CountConversion(level or 0.0, request.gain, request.factor, mask, outside), choices


def _report(session: Session, ranking: EntropyRanking) -> None:
    """Tell the user how values became counts, and what makes the entropies doubtful."""
    found, request, say = ranking.entropies, ranking.request, session.reporter
    name, n = ranking.series.name, len(found)
    scaled = ranking.choices["total_counts"]
    each = f"scaled to {scaled:.4g} in every view" if scaled else "not scaled"
    how = "values are counts" if request.as_counts else f"counts are {ranking.choices['counts']}, {each}"
    say.report(f"{how}; {found.n_voxels} voxels along a ray")
    if request.gain == 1 and not request.as_counts:
        say.report("without --gain the entropies only rank views of one series")
    empty = np.flatnonzero(found.total_counts <= 0)
    if len(empty):
        say.warn(f"{name}: no counts in view {_listed(empty)}; ranked last")
    negative = found.negative_fraction
    below = np.flatnonzero((found.clipped_counts > found.recorded_counts) & (found.total_counts > 0))
    if len(below):
        say.warn(
            f"{name}: more counts are missing below the background than there are above it in view "
            f"{_listed(below)}; is it a bright-field series, or does --background not fit?"
        )
    elif negative.max() > MANY_NEGATIVE:
        say.report(f"up to {negative.max():.1%} of the pixels of a view are negative, taken as 0")
    saturated = np.flatnonzero(found.n_saturated)
    if len(saturated):
        say.warn(
            f"{name}: {found.n_saturated.max()} pixels of one value at the end of a detector's range, in "
            f"view {_listed(saturated)}; saturated views seem to have more entropy than they have"
        )
    paired = int((found.partner >= 0).sum())
    if paired < n:
        say.report(f"{n - paired} of {n} views have no partner at 90°, and no joint entropy")
    lags = np.abs(found.lag_rows[np.isfinite(found.lag_rows)])
    if len(lags) and np.median(lags) >= 1:
        say.warn(
            f"{name}: views at 90° seem to be displaced along the tilt axis, by {np.median(lags):g} rows; "
            "joint entropies need registered views with a vertical axis"
        )


def _listed(views: Sequence[int] | NDArray[np.intp], most: int = 12) -> str:
    """Return numbers of views, from 1, as text."""
    words = [str(int(view) + 1) for view in views[:most]]
    return ", ".join([*words, "…"] if len(views) > most else words)
