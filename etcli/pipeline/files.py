"""Reading and writing series, volumes and atoms by the name of their file."""

from dataclasses import replace
from pathlib import Path

from etcli.core.arguments import check_choice
from etcli.core.atomic_model import Atoms
from etcli.core.errors import UsageError
from etcli.core.series import TiltSeries, Volume
from etcli.core.surfaces.mesh import Mesh
from etcli.io.atoms import atoms_format, is_atoms_file, read_atoms, write_atoms
from etcli.io.frame_label import OURS
from etcli.io.meshes import mesh_format, write_mesh
from etcli.io.mrc_writer import WRITTEN_MODES
from etcli.io.tables import write_table
from etcli.io.writers import ProcessingStep, series_writer, volume_writer
from etcli.pipeline.inputs import read_images, read_series
from etcli.pipeline.measured import Measured
from etcli.pipeline.segmentation import Segmentation
from etcli.pipeline.session import Session
from etcli.pipeline.text_output import check_text_names
from etcli.pipeline.trace import TracedAtoms


def read(
    name: str | Path,
    *,
    kind: str = "auto",
    tilts: str | Path | None = None,
    defocus: str | Path | None = None,
    euler: str | Path | None = None,
    session: Session | None = None,
) -> TiltSeries | Volume | Atoms:
    """Read a file with its metadata, including those of files beside it; images are loaded on use.

    Parameters
    ----------
    name : str or Path
        An image file (MRC, TIFF, and those of the optional readers) or a file of atoms.
    kind : {"auto", "series", "volume"}
        Kind of the images; by default a series if tilt angles are found, else a volume.
    tilts : str or Path, optional
        File of tilt angles that replaces all other sources.
    defocus : str or Path, optional
        File of defoci in µm, one per line.
    euler : str or Path, optional
        File of Euler angles, for views of any orientation.
    session : Session, optional
        Its reporter receives warnings; `Session()` by default, which issues Python warnings.

    Returns
    -------
    TiltSeries, Volume or Atoms

    Raises
    ------
    DataError
        When the file, or a description beside it, is damaged or does not fit.
    OSError
        When it does not exist.

    Examples
    --------
    >>> import etcli
    >>> series = etcli.read("sample_data/particle.mrc")
    >>> series.shape, series.pixel_A, len(series.tilt_deg)
    ((71, 96, 96), 10.0, 71)
    """
    session, text = _own_inputs(session), str(name)
    check_choice("kind of images", kind, ("auto", "series", "volume"))
    if is_atoms_file(text):
        return read_atoms(Path(text))
    if kind == "series" or defocus or euler:
        tilts_file, defocus_file, euler_file = (
            str(file) if file else None for file in (tilts, defocus, euler)
        )
        return read_series(session, text, tilts=tilts_file, defocus=defocus_file, euler=euler_file)
    file = read_images(session, text, tilts=str(tilts) if tilts else None)
    return file.volume() if kind == "volume" else file.images()


def write(
    what: TiltSeries | Volume | Segmentation | Atoms | TracedAtoms | Mesh | Measured,
    name: str | Path,
    *,
    mode: int = 2,
    overwrite: bool = False,
    session: Session | None = None,
) -> None:
    """Write a series, a volume, atoms or a surface; the file appears complete or not at all.

    Parameters
    ----------
    what : TiltSeries, Volume, Segmentation, Atoms, TracedAtoms, Mesh or Measured
        A series is written with its mdoc, a volume with its frame; of the result of `etcli.segment` the
        labels, as whole numbers; the result of `etcli.trace_atoms` also
        with the box and the history of the volume.
    name : str or Path
        MRC or TIFF by its ending; for atoms ``.xyz``, ``.plain.xyz``, ``.cif`` or ``.pdb``, for the result of
        `etcli.mesh` ``.stl``, ``.ply`` or ``.obj``, for that of `etcli.measure` ``.csv``.
    mode : int
        MRC mode.
    overwrite : bool
        Whether even images that etcli did not write may be replaced.
    session : Session, optional

    Raises
    ------
    DataError
        When the file cannot be written.
    UsageError
        When the ending is that of no format, or an existing file must not be replaced.

    Examples
    --------
    >>> import numpy as np, tempfile, etcli
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     etcli.write(etcli.Volume(np.ones((4, 4, 4), np.float32), pixel_A=2.0), f"{folder}/v.mrc")
    ...     etcli.read(f"{folder}/v.mrc").pixel_A
    2.0
    """
    session, target = _own_inputs(session), str(name)
    if isinstance(what, Segmentation):
        mode, what = what.mode, what.labels
    if mode not in WRITTEN_MODES:
        raise UsageError(f"images are not written as MRC mode {mode!r}; use one of {WRITTEN_MODES}")
    with (session.overwriting() if overwrite else session).outputs() as outputs:
        if isinstance(what, TiltSeries):
            axis_deg = what.axis_deg if what.axis_source == "given" else None
            with series_writer(
                outputs, target, what, step=_step(what), axis_deg=axis_deg, mode=mode
            ) as series:
                for k in range(len(what)):
                    series.write_section(k, what.view(k))
        elif isinstance(what, Volume):
            with volume_writer(
                outputs,
                target,
                what.shape,
                step=_step(what),
                like=what,
                pixel_A=what.pixel_A,
                frame=what.frame,
                origin_A=what.origin_A,
                mode=mode,
            ) as volume:
                for k in range(len(what)):
                    volume.write_section(k, what.view(k))
        elif isinstance(what, TracedAtoms):
            form = atoms_format(target)
            write_atoms(outputs.path(target), what.atoms, form=form, box=what.box, history=what.history)
        elif isinstance(what, Atoms):
            write_atoms(outputs.path(target), what, form=atoms_format(target))
        elif isinstance(what, Measured):
            check_text_names(table=target)
            write_table(outputs.path(target), what.columns)
        elif isinstance(what, Mesh):
            form = mesh_format(target)
            write_mesh(outputs.path(target), what, form=form)
        else:
            raise UsageError(
                f"cannot write a {type(what).__name__}; put images into a TiltSeries or a Volume, positions "
                "into Atoms"
            )


def _own_inputs(session: Session | None) -> Session:
    """Return the session without the files that other calls have read, which this one may replace."""
    return replace(session or Session(), inputs=[])


def _step(what: TiltSeries | Volume) -> ProcessingStep | None:
    """Return the step to add to the history, None if the newest entry is etcli's already."""
    has_step = what.history and what.history[-1].startswith(OURS)
    return None if has_step else ProcessingStep("write", "from Python")
