"""Stands by a running cluster until it ends: ``python3 -m qnib.terminal NAME``, started by `qnib up`."""

from qnib.terminal.attendant import main

main()
