"""Subcommands of ``etcli``, one module each."""
