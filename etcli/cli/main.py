"""The command ``etcli``: a group that imports a subcommand only when it is run."""

import difflib
import importlib
from typing import Any

import click
from click.shell_completion import CompletionItem

from etcli.cli.options import Command, global_options

COMMANDS = {
    "bin": "Reduce images or a volume.",
    "filter": "Denoise images or a volume, or bring out edges.",
    "register": "Shift the views of a tilt series onto each other; shifts only.",
    "tiltalign": "Find the tilt axis of a registered series and turn it vertical and central.",
    "recon": "Reconstruct the volume of an aligned tilt series.",
    "trace-atoms": "Find, fit and classify the atoms of a volume at atomic resolution.",
    "info": "Tell what a file holds.",
    "stack": "Make one series of files: assemble, select, reorder, crop, convert.",
    "xform": "Apply transforms found elsewhere to a series.",
    "project": "Project a volume, its sections along z, at tilt angles about y.",
    "compare": "Compare A with the reference B: volumes, series or atoms, by the files' names.",
    "simulate": "Make a dark-field tilt series of a specimen whose every number is known.",
    "view": "Draw a series or a volume as a picture (png, pdf, svg) or a movie (gif).",
}


class Disconnected(BaseException):
    """Raised when nobody reads the standard output any more."""


class LazyGroup(click.Group):
    """A group whose subcommands live in ``etcli.commands``, one module each."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, in the order of the work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the subcommand and return it."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"etcli.commands.{cmd_name.replace('-', '_')}")
        command: Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the subcommand, or suggest the one that was meant."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            close = difflib.get_close_matches(name, COMMANDS, 1, 0.5)
            hint = f"did you mean {close[0]}?" if close else "see etcli --help"
            ctx.fail(f"no such command '{name}'; {hint}")
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the names from the table, without importing the subcommands."""
        names = [
            CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)
        ]
        return names + click.Command.shell_complete(self, ctx, incomplete)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:  # click would end with status 1
            raise Disconnected from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the subcommands from the table, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Every command explains itself: etcli recon --help. Files open in IMOD and come from SerialEM.",
)
@global_options
def etcli() -> None:
    """Electron tomography of materials, from a tilt series to a volume."""
