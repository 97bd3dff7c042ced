"""`python -m vitcli`."""

from vitcli.cli import main

main()
