"""Text table of views ranked by entropy."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from etcli.pipeline.entropy import EntropyRanking
    from etcli.pipeline.plan_views import SeriesPlan


def entropy_table(ranking: "EntropyRanking") -> list[str]:
    """Lines of a table, the lowest entropy first."""
    columns = ranking.table
    deviation = columns.get("S_sd")
    cube = float(ranking.entropies.n_voxels) ** 3
    lines = [
        "rank  view     tilt      S/N³"
        + "        ±" * (deviation is not None)
        + "  partner  joint S/N³  zeros"
    ]
    rows = zip(
        columns["rank"],
        columns["view"],
        columns["tilt_angle_deg"],
        columns["S_per_N3"],
        columns["partner_angle_deg"],
        columns["S_joint_per_N3"],
        columns["zero_fraction"],
        strict=True,
    )
    for rank, view, tilt_deg, alone, partner_deg, joint, zeros in sorted(rows, key=lambda row: row[0]):
        pair = (
            f"{partner_deg:7.1f}°  {joint:10.5f}" if partner_deg == partner_deg else f"{'-':>7}   {'-':>10}"
        )
        spread = "" if deviation is None else f" {deviation[view - 1] / cube:8.1g}"
        lines.append(f"{rank:4}  {view:4}  {tilt_deg:6.1f}°  {alone:8.5f}{spread}  {pair}  {zeros:5.0%}")
    return lines


def plan_table(plan: "SeriesPlan") -> list[str]:
    """Lines with the zone axes, the lowest entropy first, and the tilt angles chosen."""
    numbers = plan.numbers
    lines = [
        f"median S/N³ {numbers['median_S_per_N3']:.4f}, {numbers['n_atoms']} atoms, "
        f"{numbers['n_voxels']} voxels along a ray"
    ]
    if numbers["zone_axes"]:
        lines += ["zone axes", "    tilt     S/N³  significance"]
        lines += [
            f"{axis['tilt_angle_deg']:7.2f}°  {axis['S_per_N3']:7.4f}  {axis['significance']:12.0f}"
            for axis in numbers["zone_axes"]
        ]
    if plan.views:
        lines += [f"tilt angles to take: {', '.join(f'{angle:g}' for angle in plan.chosen_deg)}"]
    return lines
