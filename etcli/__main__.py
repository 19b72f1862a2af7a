"""Entry point of the ``etcli`` program."""

from etcli.cli.run import main

if __name__ == "__main__":
    main()
