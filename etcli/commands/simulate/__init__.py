"""``etcli simulate``: specimens and the series that a microscope would record, one module per kind."""

from etcli.cli.groups import family

KINDS = {
    "phantom": "Simulate Shepp and Logan's head phantom, as ellipsoids.",
    "particle": "Simulate a catalyst: a support with small metal particles.",
    "needle": "Simulate a tapered needle of many layers along the tilt axis.",
    "spectral": "Simulate element maps or spectrum images, with the dark-field series of the same specimen.",
    "adf": "Simulate the dark-field series of a model or a crystal, atom by atom.",
    "hrtem": "Simulate the phase-contrast tilt series of a model or a crystal, at several defoci.",
    "focal": "Simulate the through-focal dark-field series of a crystal in zone axis.",
}
"""First line of the help of every kind."""


@family(
    "simulate",
    package="etcli.commands.simulate",
    table=KINDS,
    noun="kind",
    options_metavar="",
    subcommand_metavar="KIND [OPTIONS] [MODEL] OUTPUT",
    example="etcli simulate needle --size 128 --range -76 76 2 --dose 500 --drift 4px --axis 3 --seed 1 \\\n"
    "    --write-truth truth.json --write-truth truth.mrc needle.mrc",
    references=(
        "Shepp & Logan, IEEE Trans. Nucl. Sci. 21, 21 (1974): the phantom.",
        "Hagen, Wan & Briggs, J. Struct. Biol. 197, 191 (2017): the dose-symmetric order.",
    ),
)
def command() -> None:
    """Simulate the tilt series or the focal series of a specimen with known properties.

    Each kind has options of its own: etcli simulate needle --help. The same seed gives the same bytes.
    """
