"""`python -m openbpu`: the command line, where its script is not on the path."""

from openbpu.cli import main

main()
