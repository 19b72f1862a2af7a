"""``etcli simulate needle``."""

from etcli.commands.simulate._solids import solids

command = solids(
    "needle",
    example="etcli simulate needle --size 128 --range -76 76 2 --dose 500 --drift 4px --axis 3 --seed 1 \\\n"
    "    --write-truth truth.json --write-truth truth.mrc needle.mrc",
)
