"""Man pages and shell completions, made from the commands themselves.

    python -m etcli.cli.pages FOLDER [--check]

writes ``man/*.1`` and ``completions/*`` below the folder, or with ``--check`` tells which are stale.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from etcli import __version__
from etcli.cli.main import COMMANDS, etcli
from etcli.cli.options import Command

SHELLS = {"bash": "etcli.bash", "zsh": "_etcli", "fish": "etcli.fish"}


def pages() -> dict[str, str]:
    """Return the content of every page and completion script by its path."""
    root = click.Context(etcli, info_name="etcli")
    files = {"man/etcli.1": _page(root)}
    for name in COMMANDS:
        child = etcli.get_command(root, name)
        if child is not None:
            files[f"man/etcli-{name}.1"] = _page(click.Context(child, parent=root, info_name=name))
    for shell, file in SHELLS.items():
        kind = get_completion_class(shell)
        if kind is not None:
            files[f"completions/{file}"] = kind(etcli, {}, "etcli", "_ETCLI_COMPLETE").source().strip() + "\n"
    return files


def _page(ctx: click.Context) -> str:
    """Return the manual page of a command in roff."""
    command = ctx.command
    name = ctx.command_path.replace(" ", "-")
    first, _, rest = (command.help or "").partition("\n\n")
    usage = " ".join(command.collect_usage_pieces(ctx))
    lines = [
        f'.TH "{name.upper()}" "1" "" "etcli {__version__}" "etcli manual"',
        ".SH NAME",
        f"{name} \\- {_roff(first.replace(chr(10), ' '))}",
        ".SH SYNOPSIS",
        f".B {ctx.command_path}",
        _roff(usage),
    ]
    if rest:
        lines += [".SH DESCRIPTION"]
        lines += [f"{_roff(' '.join(part.split()))}\n.PP" for part in rest.split("\n\n")]
    if isinstance(command, click.Group):
        lines += [".SH COMMANDS"]
        for child, text in COMMANDS.items():
            lines += [".TP", f".BR etcli-{child} (1)", _roff(text)]
    lines += list(_options(ctx))
    if isinstance(command, Command):
        lines += [".SH EXAMPLE", ".nf", _roff(command.example), ".fi"]
        if command.references:
            lines += [".SH REFERENCES"]
            lines += [f"{_roff(reference)}\n.br" for reference in command.references]
    return "\n".join(lines) + "\n"


def _options(ctx: click.Context) -> Iterator[str]:
    yield ".SH OPTIONS"
    for param in ctx.command.get_params(ctx):
        record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
        if record is not None:
            yield from (".TP", f"\\fB{_roff(record[0])}\\fR", _roff(" ".join(record[1].split())))


def _roff(text: str) -> str:
    """Keep roff from reading text as requests."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", escaped, flags=re.MULTILINE)


def main(folder: Path, *, check: bool) -> int:
    """Write the pages, or count those that are not what they should be."""
    stale = 0
    for name, text in pages().items():
        path = folder / name
        if check:
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                print(f"stale: {name}; run python -m etcli.cli.pages .")
                stale += 1
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return min(stale, 1)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), check="--check" in sys.argv))
