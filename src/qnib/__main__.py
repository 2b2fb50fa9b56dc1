"""`python -m qnib` is the command `qnib`."""

from qnib.cli import main

main()
