"""Generator of man pages and shell completions from the command line definitions.

    python -m etcli.cli.pages FOLDER [--check]

writes ``man/*.1`` and ``completions/*`` below the folder, or with ``--check`` lists those that are outdated.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from etcli import __version__
from etcli.cli.groups import LazyGroup
from etcli.cli.main import etcli
from etcli.cli.options import Explained

FOLDERS = ("man", "completions")
SHELLS = {"bash": "etcli.bash", "zsh": "_etcli", "fish": "etcli.fish"}


def pages() -> dict[str, str]:
    """Return the content of every page and completion script by its path."""
    root = etcli.make_context("etcli", [], resilient_parsing=True)
    files = {f"man/{_name(ctx)}.1": _page(ctx) for ctx in _contexts(root)}
    for shell, file in SHELLS.items():
        kind = get_completion_class(shell)
        if kind is not None:
            files[f"completions/{file}"] = kind(etcli, {}, "etcli", "_ETCLI_COMPLETE").source().strip() + "\n"
    return files


def _contexts(ctx: click.Context) -> Iterator[click.Context]:
    """Yield the context of a command, and those of all its subcommands."""
    yield ctx
    if isinstance(ctx.command, LazyGroup):
        for name in ctx.command.table:
            child = ctx.command.get_command(ctx, name)
            if child is not None:
                yield from _contexts(child.make_context(name, [], parent=ctx, resilient_parsing=True))


def _name(ctx: click.Context) -> str:
    """Return the name of the man page of a command."""
    return ctx.command_path.replace(" ", "-")


def _page(ctx: click.Context) -> str:
    """Return the man page of a command in roff."""
    command = ctx.command
    name = _name(ctx)
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
        lines += ["\n.PP\n".join(_roff(" ".join(part.split())) for part in rest.split("\n\n"))]
    if isinstance(command, LazyGroup):
        lines += [f".SH {command.noun.upper()}S"]
        for child, text in command.table.items():
            lines += [".TP", f".BR {_roff(name)}\\-{child} (1)", _roff(text)]
    lines += list(_options(ctx))
    if isinstance(command, Explained):
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
    """Escape text for roff, with characters outside ASCII by their code."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    escaped = "".join(char if char.isascii() else f"\\[u{ord(char):04X}]" for char in escaped)
    return re.sub(r"^([.'])", r"\\&\1", escaped, flags=re.MULTILINE)


def main(folder: Path, *, check: bool) -> int:
    """Write the pages and remove other files from their folders, or print which pages are outdated."""
    files = pages()
    left_over = {f"{name}/{path.name}" for name in FOLDERS for path in (folder / name).glob("*")} - set(files)
    if check:
        stale = [name for name, text in files.items() if _read(folder / name) != text] + sorted(left_over)
        for name in stale:
            print(f"stale: {name}; run python -m etcli.cli.pages .")
        return min(len(stale), 1)
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    for name in left_over:
        (folder / name).unlink()
    return 0


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), check="--check" in sys.argv))
