"""The table of views: one row a view, selected, joined, and kept in an mdoc."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from etcli.core.errors import DataError, UsageError
from etcli.core.orientation import rotation_matrices
from etcli.core.series import TiltSeries
from etcli.core.view_table import ViewTable
from etcli.io.mdoc import Mdoc
from etcli.io.tilts import Tilts
from etcli.io.view_columns import view_table, with_views
from tests.files import TILT_DEG, mdoc_text

NUMBERS = st.floats(-1e4, 1e4).map(lambda x: float(f"{x:.8g}"))
COLUMNS = {
    "tilt_deg": st.floats(-90, 90),
    "defocus_um": NUMBERS | st.just(float("nan")),
    "dose_e_A2": st.floats(0, 1e4).map(lambda x: float(f"{x:.8g}")),
    "prior_dose_e_A2": st.floats(0.125, 1e4).map(lambda x: float(f"{x:.8g}")),
    "weight": st.floats(0.001, 1e3).map(lambda x: float(f"{x:.8g}")),
}


def equal(a: ViewTable, b: ViewTable) -> None:
    for name in ("section", *COLUMNS, "euler_deg"):
        first, second = getattr(a, name), getattr(b, name)
        assert (first is None) == (second is None), name
        if first is not None:
            np.testing.assert_allclose(first, second, rtol=1e-6, atol=1e-6, err_msg=name)
    assert (a.channel is None) == (b.channel is None)
    assert a.channel is None or a.channel.tolist() == b.channel.tolist()


@st.composite
def tables(draw: st.DrawFn) -> ViewTable:
    n = draw(st.integers(1, 6))
    known = {
        name: draw(hnp.arrays(np.float64, n, elements=values))
        for name, values in COLUMNS.items()
        if name == "tilt_deg" or draw(st.booleans())
    }
    if "defocus_um" in known and np.isnan(known["defocus_um"]).all():
        del known["defocus_um"]  # a column of which nothing is known is none
    if draw(st.booleans()):
        known["channel"] = draw(st.lists(st.sampled_from(["Ni", "Co", "HAADF"]), min_size=n, max_size=n))
    table = ViewTable(np.arange(n), **known)
    if draw(st.booleans()):
        table = table.with_orientations(draw(hnp.arrays(np.float64, (n, 3), elements=st.floats(-90, 90))))
    return table


@given(tables())
def test_an_mdoc_keeps_the_table(table: ViewTable) -> None:
    text = with_views(Mdoc.empty(len(table)), table).dump()
    mdoc = Mdoc.parse(text)
    found = view_table(len(table), mdoc, Tilts(mdoc.tilt_deg, mdoc.name))
    # where nobody says, doses before follow from those of the views
    if table.prior_dose_e_A2 is None:
        found = replace(found, prior_dose_e_A2=None)
    equal(found, table)


@given(tables(), st.data())
def test_a_selection_takes_every_column_along(table: ViewTable, data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.integers(0, len(table) - 1), min_size=1, max_size=8))
    found = table.select(chosen)
    for k, view in enumerate(chosen):
        equal(found.select([k]), table.select([view]))


@given(tables(), tables())
def test_tables_are_joined_with_gaps_where_one_does_not_know(a: ViewTable, b: ViewTable) -> None:
    both = ViewTable.joined([a, b])
    assert both.section.tolist() == list(range(len(a) + len(b)))
    for name in ("tilt_deg", "defocus_um", "dose_e_A2"):
        column = getattr(both, name)
        parts = [getattr(table, name) for table in (a, b)]
        if parts[0] is None and parts[1] is None:
            assert column is None
            continue
        for part, found in zip(parts, np.split(column, [len(a)]), strict=True):
            expected = np.full(len(found), np.nan) if part is None else part
            np.testing.assert_array_equal(found, expected)


def test_what_an_mdoc_says_already_is_not_written_again() -> None:
    mdoc = Mdoc.parse(mdoc_text(TILT_DEG))
    table = view_table(len(TILT_DEG), mdoc, Tilts(mdoc.tilt_deg, mdoc.name))
    assert with_views(mdoc, table) is mdoc
    assert table.defocus_um.tolist() == [-1, -1.01, -1.02, -1.03]
    np.testing.assert_allclose(table.prior_dose_e_A2, [0, 1, 2.1, 3.3])


def test_doses_before_views_stay_when_views_change_places() -> None:
    """What an order implied is written down when the order goes."""
    mdoc = Mdoc.parse(mdoc_text([0.0, 3.0, -3.0]))
    table = view_table(3, mdoc, Tilts(mdoc.tilt_deg, mdoc.name))
    order = [2, 0, 1]
    found = with_views(mdoc.select(order), table.select(order))
    np.testing.assert_allclose(found.numbers_of("PriorRecordDose"), [2.1, 0, 1])
    assert "PriorRecordDose" not in mdoc.dump().decode()


def test_times_are_counted_from_the_first_view() -> None:
    dates = ("30-Nov-15  15:21:38", "30-Nov-15  15:20:38", "")
    text = "".join(f"[ZValue = {k}]\nTiltAngle = {k}\nDateTime = {date}\n" for k, date in enumerate(dates))
    found = view_table(3, Mdoc.parse(text), None)
    np.testing.assert_array_equal(found.time_s, [60, 0, np.nan])
    assert found.tilt_deg is None and not found.has_tilts


def test_orientations_go_where_other_angles_count() -> None:
    euler = [[0.0, -10.0, 3.0], [1.0, 20.0, 0.0]]
    mdoc = with_views(Mdoc.empty(2), ViewTable.oriented(euler))
    own = view_table(2, mdoc, Tilts(mdoc.tilt_deg, mdoc.name))
    np.testing.assert_array_equal(own.euler_deg, euler)
    np.testing.assert_array_equal(own.tilt_deg, [10, -20])
    given_by_hand = view_table(2, mdoc, Tilts(np.array([10.0, -20.0]), "a.tlt"))
    assert given_by_hand.euler_deg is None
    assert b"EulerAngles" not in with_views(mdoc, given_by_hand).dump()


def test_rotations_are_none_for_one_axis() -> None:
    table = ViewTable.tilted([0.0, 30.0])
    assert table.rotations() is None
    expected = rotation_matrices([[0, -30.0, 0]])[0] @ rotation_matrices([[0, 0, 5.0]])[0]
    np.testing.assert_allclose(table.rotations(5.0)[1], expected)
    oriented = ViewTable.oriented([[1.0, -30.0, 2.0]])
    np.testing.assert_allclose(oriented.rotations(), rotation_matrices([[1.0, -30.0, 2.0]]))


@pytest.mark.parametrize(
    ("tilt_deg", "defocus_um", "groups", "is_focal"),
    [
        ([0.0, 0.0, 0.0], [-1.0, 0.0, 1.0], [[0, 1, 2]], True),
        ([0.0, 0.004, 3.0, 3.0], [-1.0, 1.0, -1.0, 1.0], [[0, 1], [2, 3]], False),
        ([0.0, 0.0, 3.0], [-1.0, -1.0, 5.0], [], False),  # frames
        ([0.0, 3.0, 6.0], [-1.0, 0.0, 1.0], [], False),
        ([0.0, 0.0], [np.nan, -1.0], [], False),
        ([0.0, 0.0], None, [], False),
    ],
)
def test_defoci_at_one_tilt_are_told_from_frames(tilt_deg, defocus_um, groups, is_focal) -> None:
    table = replace(ViewTable.tilted(tilt_deg), defocus_um=defocus_um)
    assert table.focal_groups() == groups
    assert table.is_focal_series == is_focal
    if groups:
        with pytest.raises(
            UsageError, match=r"a\.mrc: \d tilts? at several defoci, as at 0° views 1 \(-1 µm"
        ):
            table.check_one_focus("a.mrc")
    else:
        table.check_one_focus("a.mrc")


def test_columns_must_fit() -> None:
    with pytest.raises(DataError, match="tilt_deg of 3 views cannot have the shape"):
        ViewTable(np.arange(3), np.zeros(2))
    with pytest.raises(DataError, match="weights are above 0"):
        ViewTable(np.arange(2), weight=[1.0, 0.0])
    with pytest.raises(DataError, match="2 images, but a view of image 3"):
        TiltSeries(np.zeros((2, 4, 4), np.float32), views=ViewTable.tilted([0, 1, 2]))


def test_columns_that_are_lost_on_the_way_leave_the_mdoc() -> None:
    table = ViewTable(
        np.arange(2), [0.0, 5.0], defocus_um=[-1, -2], dose_e_A2=[3, 3], prior_dose_e_A2=[9, 6], weight=[1, 2]
    )
    mdoc = with_views(Mdoc.empty(2, name="a.mdoc"), table)
    bare = with_views(mdoc, ViewTable(np.arange(2), [0.0, 5.0]))
    for key in ("Defocus", "ExposureDose", "PriorRecordDose", "ViewWeight"):
        assert all(section.get(key) for section in mdoc.sections)
        assert not any(section.get(key) for section in bare.sections)
    assert all(section.get("TiltAngle") for section in bare.sections)


def test_a_view_without_orientation_is_an_error_only_where_it_is_used() -> None:
    euler_deg = np.array([[0, 0, 0], [np.nan] * 3, [1, -20, 2]])
    table = ViewTable(np.arange(3), [0.0, 10.0, 20.0], euler_deg)
    with pytest.raises(DataError, match="1 of 3 views have no Euler angles, the first at section 2"):
        table.rotations()
    assert table.select([0, 2]).rotations().shape == (2, 3, 3)


def test_a_series_about_one_axis_joins_an_oriented_one() -> None:
    oriented, tilted = ViewTable.oriented([[1, -20, 2]]), ViewTable.tilted([30.0])
    joined = ViewTable.joined([oriented, tilted])
    np.testing.assert_allclose(joined.rotations()[1], tilted.rotations(1e-300)[0], atol=1e-12)


def test_an_unknown_defocus_hides_no_others() -> None:
    table = ViewTable(np.arange(4), [0, 0, 0, 1], defocus_um=[-1, -2, np.nan, -1])
    assert table.focal_groups() == [[0, 1]]
