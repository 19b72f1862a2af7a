"""Parts that all subcommands share: options, messages, exit status."""
