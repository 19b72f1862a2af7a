"""Electron tomography of materials.

The functions do what the commands of the same name do, with arrays in memory instead of files:

    series = etcli.read("series.mrc")
    registered = etcli.register(series)
    aligned = etcli.tiltalign(series, before=registered.transforms)
    result = etcli.reconstruct(aligned.series, method="sirt", iterations=30, nonnegative=True)
    etcli.write(result.volume, "volume.mrc")

Modules are imported on first use of a name, so that ``import etcli`` itself takes no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from etcli.core.atomic_model import Atoms as Atoms
    from etcli.core.errors import ConvergenceError as ConvergenceError
    from etcli.core.errors import DataError as DataError
    from etcli.core.errors import EtcliError as EtcliError
    from etcli.core.errors import EtcliWarning as EtcliWarning
    from etcli.core.errors import UsageError as UsageError
    from etcli.core.registration.transforms import Transforms as Transforms
    from etcli.core.series import TiltSeries as TiltSeries
    from etcli.core.series import Volume as Volume
    from etcli.core.view_table import ViewTable as ViewTable
    from etcli.pipeline.bin import bin as bin
    from etcli.pipeline.compare import compare as compare
    from etcli.pipeline.decompose import decompose as decompose
    from etcli.pipeline.depth_section import depth_section as depth_section
    from etcli.pipeline.entropy import entropy as entropy
    from etcli.pipeline.files import read as read
    from etcli.pipeline.files import write as write
    from etcli.pipeline.filter import filter as filter
    from etcli.pipeline.fuse import fuse as fuse
    from etcli.pipeline.measure import measure as measure
    from etcli.pipeline.mesh import mesh as mesh
    from etcli.pipeline.plan_views import plan_views as plan_views
    from etcli.pipeline.project import project as project
    from etcli.pipeline.read_spectra import read_spectra as read_spectra
    from etcli.pipeline.reconstruct import reconstruct as reconstruct
    from etcli.pipeline.register import register as register
    from etcli.pipeline.segment import segment as segment
    from etcli.pipeline.session import Session as Session
    from etcli.pipeline.tiltalign import tiltalign as tiltalign
    from etcli.pipeline.trace import trace_atoms as trace_atoms
    from etcli.pipeline.view_selection import Region as Region
    from etcli.pipeline.xform import xform as xform

_NAMES_BY_MODULE = {
    "etcli.core.atomic_model": ("Atoms",),
    "etcli.core.errors": ("ConvergenceError", "DataError", "EtcliError", "EtcliWarning", "UsageError"),
    "etcli.core.registration.transforms": ("Transforms",),
    "etcli.core.series": ("TiltSeries", "Volume"),
    "etcli.core.view_table": ("ViewTable",),
    "etcli.pipeline.bin": ("bin",),
    "etcli.pipeline.compare": ("compare",),
    "etcli.pipeline.decompose": ("decompose",),
    "etcli.pipeline.depth_section": ("depth_section",),
    "etcli.pipeline.entropy": ("entropy",),
    "etcli.pipeline.files": ("read", "write"),
    "etcli.pipeline.filter": ("filter",),
    "etcli.pipeline.fuse": ("fuse",),
    "etcli.pipeline.measure": ("measure",),
    "etcli.pipeline.mesh": ("mesh",),
    "etcli.pipeline.plan_views": ("plan_views",),
    "etcli.pipeline.project": ("project",),
    "etcli.pipeline.read_spectra": ("read_spectra",),
    "etcli.pipeline.reconstruct": ("reconstruct",),
    "etcli.pipeline.register": ("register",),
    "etcli.pipeline.segment": ("segment",),
    "etcli.pipeline.session": ("Session",),
    "etcli.pipeline.tiltalign": ("tiltalign",),
    "etcli.pipeline.trace": ("trace_atoms",),
    "etcli.pipeline.view_selection": ("Region",),
    "etcli.pipeline.xform": ("xform",),
}
_MODULE_OF = {name: module for module, names in _NAMES_BY_MODULE.items() for name in names}

__all__ = ["__version__", *sorted(_MODULE_OF)]  # noqa: PLE0604 - they are all strings


def __getattr__(name: str) -> Any:
    """Import a public name from its module on first use."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'etcli' has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List all public names, imported or not."""
    return __all__
