"""The virtual cluster: a real SLURM in containers on this machine, with a fabric that a real OpenSM routes.

>>> from qnib import terminal
>>> cluster = terminal.up(settings, nodes=4)          # doctest: +SKIP
>>> terminal.execute(settings, "controller", ["srun", "-N4", "hostname"])   # doctest: +SKIP
"""

from qnib.terminal.access import execute, shell
from qnib.terminal.faults.inject import clear as fault_clear
from qnib.terminal.faults.inject import inject as fault_inject
from qnib.terminal.faults.written import Fault
from qnib.terminal.faults.written import every as fault_list
from qnib.terminal.image import clean as clean_images
from qnib.terminal.login import ssh
from qnib.terminal.scaling import scale
from qnib.terminal.services import token
from qnib.terminal.starting import up
from qnib.terminal.status import status
from qnib.terminal.stopping import down

__all__ = [
    "Fault", "clean_images", "down", "execute", "fault_clear", "fault_inject", "fault_list", "scale", "shell",
    "ssh", "status", "token", "up",
]
