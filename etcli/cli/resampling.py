"""Writing a series with its views transformed, by one interpolation each."""

from typing import TYPE_CHECKING, Any

from etcli.cli.options import Settings

if TYPE_CHECKING:
    from etcli.core.registration.transforms import Transforms
    from etcli.io.stack import Stack


def write_resampled(
    settings: Settings, writer: Any, stack: "Stack", transforms: "Transforms", *, what: str, **how: Any
) -> None:
    """Resample the views, ``how`` as for `resample_stack`, and write them as they come."""
    from etcli.core.registration.transforms import resample_stack

    views = (stack.view(k) for k in range(len(stack)))
    moved = resample_stack(views, transforms, threads=settings.threads, **how)
    for k, view in enumerate(settings.console.track(moved, len(stack), what)):
        writer.write_section(k, view)
