"""``etcli recon``: reconstruct the volume."""
