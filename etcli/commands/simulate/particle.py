"""``etcli simulate particle``."""

from etcli.commands.simulate._solids import solids

command = solids(
    "particle",
    example="etcli simulate particle --order dose-symmetric --dose 200 --mode 1 particle.mrc",
    references=("Hagen, Wan & Briggs, J. Struct. Biol. 197, 191 (2017): the dose-symmetric order.",),
)
