"""From a tilt series to a volume and the particles in it, in Python: run it in this folder.

The same steps as commands:

    etcli bin --factor 2 particle.mrc small.mrc
    etcli register --write-xf r.xf small.mrc registered.mrc
    etcli tiltalign --prexf r.xf small.mrc aligned.mrc
    etcli recon --method sirt --iterations 30 --nonnegative aligned.mrc particle_volume.mrc
    etcli trace-atoms --species 1 --sigma 15 --min-distance 30 particle_volume.mrc particle.xyz
"""

import etcli

# %% A series is opened with all that is known of it. Pixels of 2 nm are enough here.
series = etcli.bin(etcli.read("particle.mrc"), 2)
print(series.shape, series.pixel_A, "Å", series.tilt_deg.min(), "to", series.tilt_deg.max(), "degrees")

# %% Shifts, then the tilt axis; both are applied to the views at once, by one interpolation.
registered = etcli.register(series)
aligned = etcli.tiltalign(series, before=registered.transforms, axis=registered.axis)
print(f"residual {registered.residual_px:.2f} px, {aligned.summary}")

# %% The volume. aligned.series and result.volume are arrays with their geometry: .images() is the array.
result = etcli.reconstruct(aligned.series, method="sirt", iterations=30, nonnegative=True)
print(result.parameters.summary(), result.volume.shape, f"residual {result.errors.residual[-1]:.3f}")

# %% The bright particles, found as atoms are: here of some 15 Å (standard deviation).
found = etcli.trace_atoms(result.volume, species=1, sigma=15, min_distance=30)
print(len(found.atoms), "particles, the first at", found.atoms.position_A[0].round(1), "Å from the centre")

# %% Files are those that the commands write, with mdoc, frame and history.
etcli.write(aligned.series, "aligned.mrc")
etcli.write(result.volume, "particle_volume.mrc")
etcli.write(found, "particle.xyz")
