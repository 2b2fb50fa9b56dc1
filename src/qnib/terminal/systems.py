"""The image lines a cluster can be made from: which Debian, which SLURM, and where they differ."""

from __future__ import annotations

from dataclasses import dataclass

_PACKAGES = (
    "slurmctld", "slurmd", "slurm-client", "munge",
    "slurm-wlm-elasticsearch-plugin",  # pushes finished jobs to QNIB's own edge
    "openmpi-bin", "python3-mpi4py", "python3-numpy",
    "ibsim-utils", "opensm", "infiniband-diags",
    "tini", "iproute2", "procps", "less", "libfaketime",
    "systemd-standalone-sysusers",  # instead of all of systemd
)


SERVICES = {
    "accounting": ("slurmdbd", "slurm-wlm-mysql-plugin", "mariadb-server-core", "mariadb-client-core"),
    "rest": ("slurmrestd", "slurm-wlm-jwt-plugin"),
}
"""Packages of services that a blueprint may ask for."""


@dataclass(frozen=True, slots=True)
class System:
    """`slurm` is the version as (year, month); `mpi` are lines of Open MPI's own settings."""

    suite: str
    slurm: tuple[int, int]
    packages: tuple[str, ...]
    mpi: tuple[str, ...]
    pmix: str
    """Where PMIx reads its settings, below the image's root."""
    rest: str
    """The newest version of slurmrestd's interface."""
    mpich: str = "libmpich12"
    """MPICH's library; SLURM starts its programs, so nothing else of it is needed."""


# UCX and libfabric look for hardware that is not there; a container may not read its peers' memory.
_OVER_TCP = ("pml = ob1", "btl_tcp_if_include = eth0", "osc = ^ucx", "mtl = ^ofi")

SYSTEMS = {
    "debian13": System(
        "trixie", (24, 11), _PACKAGES, (*_OVER_TCP, "btl = self,sm,tcp", "smsc = ^cma"),
        "usr/lib/*/pmix2/share/pmix-mca-params.conf", "v0.0.42",
    ),
    "debian12": System(
        "bookworm", (22, 5), (*_PACKAGES, "libpmix-dev"),  # SLURM opens the library by the name that is in there
        (*_OVER_TCP, "btl = self,vader,tcp", "btl_vader_single_copy_mechanism = none"),
        "usr/lib/*/pmix2/share/pmix-mca-params.conf", "v0.0.38",
    ),
}
