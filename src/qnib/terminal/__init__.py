"""The virtual cluster: a real SLURM in containers on this machine, with a fabric that a real OpenSM routes.

>>> from qnib import terminal
>>> cluster = terminal.up(settings, nodes=4)          # doctest: +SKIP
>>> terminal.execute(settings, "controller", ["srun", "-N4", "hostname"])   # doctest: +SKIP
"""

from qnib.terminal.access import execute, shell
from qnib.terminal.starting import up
from qnib.terminal.stopping import down

__all__ = ["down", "execute", "shell", "up"]
