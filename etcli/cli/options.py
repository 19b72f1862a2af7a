"""Options shared by several commands, and the global settings."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import isfinite
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from etcli import __version__
from etcli.cli.console import Console
from etcli.cli.types import BACKGROUND, FILE, MEMORY
from etcli.core.arguments import check_owner
from etcli.core.errors import UsageError

if TYPE_CHECKING:
    from etcli.pipeline.session import Session

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


@dataclass
class Settings:
    """Values of the global options, given before or after the name of the command."""

    console: Console = field(default_factory=Console)
    debug: bool = False
    clobber: bool = True
    overwrite: bool = False
    device: str = "auto"
    fail_status: int = 1
    threads: int | None = None
    memory: int | None = None
    command_line: tuple[str, ...] = ()

    @cached_property
    def session(self) -> "Session":
        """The session of the command, created on first use."""
        from etcli.pipeline.session import Session

        given: dict[str, Any] = {"threads": self.threads, "memory": self.memory}
        return Session(
            device=self.device,
            reporter=self.console,
            clobber=self.clobber,
            overwrite=self.overwrite,
            command=self.command_line,
            **{name: value for name, value in given.items() if value is not None},
        )


pass_settings = click.make_pass_decorator(Settings, ensure=True)


def _quiet(settings: Settings, value: bool) -> None:
    if value:
        settings.console.verbosity = -1


def _verbose(settings: Settings, value: int) -> None:
    if settings.console.verbosity >= 0:
        settings.console.verbosity = max(settings.console.verbosity, value)


def _threads(settings: Settings, value: int | None) -> None:
    settings.threads = value or settings.threads


def _memory(settings: Settings, value: int | None) -> None:
    settings.memory = value or settings.memory


def _device(settings: Settings, value: str | None) -> None:
    settings.device = value or settings.device


def _debug(settings: Settings, value: bool) -> None:
    settings.debug = settings.debug or value


def _fail_status(settings: Settings, value: int | None) -> None:
    settings.fail_status = value or settings.fail_status


def _clobber(settings: Settings, value: bool) -> None:
    settings.clobber = settings.clobber and not value


def _overwrite(settings: Settings, value: bool) -> None:
    settings.overwrite = settings.overwrite or value


def _global(
    store: Callable[[Settings, Any], None], *names: str, **how: Any
) -> Callable[[Decorated], Decorated]:
    def callback(ctx: click.Context, param: click.Parameter, value: Any) -> None:
        source = ctx.get_parameter_source(param.name or "")
        # the environment is read before the name of the command, so that options there have precedence
        if ctx.parent is None or source is not ParameterSource.ENVIRONMENT:
            store(ctx.ensure_object(Settings), value)

    return click.option(*names, callback=callback, expose_value=False, is_eager=True, **how)


_GLOBAL = (
    _global(_quiet, "-q", "--quiet", is_flag=True, envvar="ETCLI_QUIET", help="Say nothing but errors."),
    _global(
        _verbose,
        "-v",
        "--verbose",
        count=True,
        envvar="ETCLI_VERBOSE",
        help="Also print details, such as automatic choices.",
    ),
    _global(
        _threads,
        "-j",
        "--threads",
        type=click.IntRange(1),
        envvar="ETCLI_THREADS",
        help="Threads to use.  [default: all this process may use]",
    ),
    _global(
        _memory,
        "--memory",
        type=MEMORY,
        envvar="ETCLI_MEMORY",
        help="Limit of the working set, such as 8G.  [default: half of what is free]",
    ),
    _global(
        _device,
        "--device",
        type=click.Choice(["auto", "cpu", "gpu"]),
        envvar="ETCLI_DEVICE",
        help="Where to compute.  [default: auto]",
    ),
    _global(_clobber, "--no-clobber", is_flag=True, envvar="ETCLI_NO_CLOBBER", help="Keep files that exist."),
    _global(
        _overwrite,
        "--overwrite",
        is_flag=True,
        envvar="ETCLI_OVERWRITE",
        help="Replace even images that etcli did not write.",
    ),
    _global(
        _fail_status,
        "--fail-status",
        type=click.IntRange(1, 255),
        metavar="N",
        envvar="ETCLI_FAIL_STATUS",
        help="Exit status where the work fails, for programs to which 1 means something else.  [default: 1]",
    ),
    _global(_debug, "--debug", is_flag=True, envvar="ETCLI_DEBUG", help="Show where an error came from."),
    click.version_option(__version__, prog_name="etcli", message="%(prog)s %(version)s"),
)


def add_options(function: Decorated, options: Sequence[Callable[[Any], Any]]) -> Decorated:
    """Add options to the function of a command, in the order of their help."""
    for option in reversed(options):
        function = option(function)
    return function


def global_options(function: Decorated) -> Decorated:
    """Add the options of every command."""
    return add_options(function, _GLOBAL)


class Explained(click.Command):
    """Command with the global options, whose help ends with an example and references."""

    def __init__(
        self,
        *args: Any,
        example: str = "",
        references: tuple[str, ...] = (),
        on_gpu: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.example = example
        self.on_gpu = on_gpu
        self.references = references
        self.own_params = len(self.params)
        holder = global_options(lambda: None)
        self.params.extend(reversed(holder.__click_params__))  # type: ignore[attr-defined]

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Set the name of this command, or of its group, as that of the following messages."""
        settings = parent.ensure_object(Settings) if parent else Settings()
        if parent is None or parent.parent is None:
            settings.console.command = info_name or "etcli"
        return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; fail if a GPU is requested for a command that cannot use one.

        A GPU requested by the environment, for all commands, is no error.
        """
        for param in self.params:
            value = ctx.params.get(param.name or "")
            if isinstance(param.type, click.FloatRange) and isinstance(value, float) and not isfinite(value):
                raise click.UsageError(f"{param.opts[-1]} {value}: give a finite number")
        sources = []
        context: click.Context | None = ctx
        while context is not None:
            sources.append(context.get_parameter_source("device"))
            context = context.parent
        settings = ctx.ensure_object(Settings)
        if not self.on_gpu and settings.device == "gpu" and ParameterSource.COMMANDLINE in sources:
            raise click.UsageError("this command cannot use a GPU; leave --device out, or give auto or cpu")
        return super().invoke(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the command's own options before those of every command."""
        for title, params in (
            ("Options", [*self.params[: self.own_params], *self.get_params(ctx)[len(self.params) :]]),
            ("Options of every command", self.params[self.own_params :]),
        ):
            options = [param for param in params if isinstance(param, click.Option)]
            rows = [row for option in options if (row := option.get_help_record(ctx)) is not None]
            with formatter.section(title):
                formatter.write_dl(rows)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """End with one worked example and the papers that the command implements."""
        with formatter.section("Example"):
            for line in self.example.splitlines():
                formatter.write(f"{'':>{formatter.current_indent}}{line}\n")
        if self.references:
            with formatter.section("References"):
                for reference in self.references:
                    formatter.write_text(reference)


CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def subcommand(name: str, **kwargs: Any) -> Callable[[Callable[..., Any]], Explained]:
    """Declare a subcommand with its example and references."""
    return click.command(name, cls=Explained, context_settings=CONTEXT, **kwargs)


def _no_stream(ctx: click.Context, param: click.Parameter, value: str) -> str:
    if value == "-":
        raise UsageError("cannot write to a stream; only bin, filter, xform and stack take - for a file")
    return value


input_argument = click.argument("input", metavar="INPUT", type=FILE)
output_argument = click.argument("output", metavar="OUTPUT", type=FILE, callback=_no_stream)
output_or_stream_argument = click.argument("output", metavar="OUTPUT", type=FILE)
tilts_option = click.option(
    "--tilts",
    type=FILE,
    metavar="FILE",
    help="Tilt angles, one per line, instead of those found beside the input.",
)
defocus_option = click.option(
    "--defocus",
    type=FILE,
    metavar="FILE",
    help="Defoci in µm, one per line and negative for underfocus, instead of the mdoc's.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the numbers of the run as JSON.")
plot_option = click.option(
    "--plot", type=FILE, metavar="FILE", help="Draw the diagnostic picture: png, pdf or svg."
)
mode_option = click.option(
    "--mode",
    type=click.Choice(["0", "1", "2", "6", "12"]),
    default="2",
    show_default=True,
    callback=lambda ctx, param, value: int(value),
    help="MRC mode: 0 int8, 1 int16, 2 float32, 6 uint16, 12 float16.",
)
background_option = click.option(
    "--background",
    type=BACKGROUND,
    default="auto",
    show_default=True,
    help="Background level to subtract: auto (that of the rim, if it is empty), none, or a value.",
)


def series_options(function: Decorated) -> Decorated:
    """Add the options of all commands that work on a tilt series as a whole."""
    return add_options(function, (background_option, tilts_option, json_option, plot_option, mode_option))


def check_options(method: str, belongs_to: Mapping[str, tuple[str, ...]]) -> None:
    """Check that the given options are used by the method; raise UsageError otherwise.

    Parameters
    ----------
    method : str
        The value of ``--method``.
    belongs_to : mapping of str to tuple of str
        The methods that use an option, by the name of its parameter; options not listed are used by all.
    """
    for param in _given():
        check_owner(method, belongs_to.get(param.name or "", (method,)), shown=param.opts[0])


def reject_options(names: Iterable[str], kind: str) -> None:
    """Check that options of another kind of work are not given; raise UsageError otherwise.

    Parameters
    ----------
    names : iterable of str
        Names of their parameters.
    kind : str
        What they are for.
    """
    for param in _given():
        if param.name in names:
            raise UsageError(f"{param.opts[0]} is for {kind}; leave it out")


def _given() -> list[click.Parameter]:
    """Return the parameters of the current command that are given, not left at their default."""
    ctx = click.get_current_context()
    sources = {param: ctx.get_parameter_source(param.name or "") for param in ctx.command.params}
    return [param for param, source in sources.items() if source is not ParameterSource.DEFAULT]


def is_given(name: str) -> bool:
    """Check whether a parameter of the current command is given, not left at its default."""
    return any(param.name == name for param in _given())


def option_name(option: Callable[[Any], Any]) -> str:
    """Return the name of the parameter of an option."""
    holder = option(lambda: None)
    return str(holder.__click_params__[0].name)
