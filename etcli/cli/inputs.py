"""Opening the inputs of a command, with what the user should know of them."""

from collections.abc import Collection
from typing import TYPE_CHECKING

from etcli.cli.options import Settings

if TYPE_CHECKING:
    from etcli.io.stack import Stack


def open_input(
    settings: Settings,
    name: str,
    *,
    tilts: str | None = None,
    stream: bool = False,
    without: Collection[int] = (),
) -> "Stack":
    """Open a stack, pass its warnings on, and tell where the tilt angles come from to those who ask."""
    from etcli.io.stack import open_stack

    stack = open_stack(name, tilts_file=tilts, stream=stream, without=without)
    for text in stack.warnings:
        settings.console.warn(text)
    if stack.tilts is not None:
        settings.console.note(f"{name}: {len(stack)} views, tilt angles from {stack.tilts.source}")
    return stack
