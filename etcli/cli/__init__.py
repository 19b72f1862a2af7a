"""What every subcommand shares: options, messages, exit status."""
