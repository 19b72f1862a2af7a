"""``etcli simulate phantom``."""

from etcli.commands.simulate._solids import solids

command = solids(
    "phantom",
    example="etcli simulate phantom --size 256 --write-truth truth.mrc phantom.mrc",
    references=("Shepp & Logan, IEEE Trans. Nucl. Sci. 21, 21 (1974): the phantom.",),
)
