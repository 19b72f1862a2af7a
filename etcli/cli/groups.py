"""Command groups that import a command only when it is run."""

import difflib
import importlib
from collections.abc import Callable
from typing import Any

import click
from click.shell_completion import CompletionItem

from etcli.cli.options import CONTEXT, Explained

FEW = 8
"""Size of a group up to which an error names all its commands."""


class Disconnected(BaseException):
    """Raised when the reader of the standard output is gone."""


class LazyGroup(click.Group):
    """Command group whose commands are modules of a package, imported on use.

    Parameters
    ----------
    package : str
        Name of the package; a module has the name of its command, with ``_`` for ``-``.
    table : dict of str to str
        The commands in the order of a usual workflow, with the first line of their help.
    noun : str
        Word for one of them in messages, such as "command".
    """

    def __init__(
        self, *args: Any, package: str, table: dict[str, str], noun: str = "command", **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.package, self.table, self.noun = package, table, noun

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands, in the order of the table."""
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the subcommand and return it."""
        if cmd_name not in self.table:
            return None
        module = importlib.import_module(f"{self.package}.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the subcommand, or fail with a suggestion of a similar one."""
        name = args[0]
        if name not in self.table and not name.startswith("-"):
            close = difflib.get_close_matches(name, self.table, 1, 0.5)
            hint = f"did you mean {close[0]}?" if close else self._hint(ctx)
            ctx.fail(f"no such {self.noun} '{name}'; {hint}")
        return super().resolve_command(ctx, args)

    def _hint(self, ctx: click.Context) -> str:
        """Return a hint: all commands if they are few, else where they are listed."""
        *others, last = self.table
        return f"use {', '.join(others)} or {last}" if len(others) < FEW else f"see {ctx.command_path} --help"

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the names from the table, without importing the subcommands."""
        names = [
            CompletionItem(name, help=text)
            for name, text in self.table.items()
            if name.startswith(incomplete)
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
        with formatter.section(f"{self.noun.capitalize()}s"):
            formatter.write_dl(list(self.table.items()))


class Family(Explained, LazyGroup):
    """Subcommand of several kinds, whose options may also be given before the kind."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Move the kind to the front of the arguments."""
        kind = next((k for k in range(len(args)) if self._is_kind(ctx, args, k)), 0)
        return super().parse_args(ctx, [*args[kind : kind + 1], *args[:kind], *args[kind + 1 :]])

    def _is_kind(self, ctx: click.Context, args: list[str], k: int) -> bool:
        """Check whether an argument is the kind, and not the value of the option before it."""
        command = self.get_command(ctx, args[k]) if args[k] in self.table else None
        if command is None:
            return False
        options = [option for option in command.params if k and args[k - 1] in option.opts]
        return all(isinstance(option, click.Option) and option.is_flag for option in options)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the kinds before the options."""
        self.format_commands(ctx, formatter)
        super().format_options(ctx, formatter)


def family(name: str, **kwargs: Any) -> Callable[[Callable[..., Any]], Family]:
    """Declare a subcommand of several kinds, with its example and references."""
    return click.command(name, cls=Family, context_settings=CONTEXT, **kwargs)
