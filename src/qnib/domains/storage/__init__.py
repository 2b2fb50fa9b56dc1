"""File systems and disks: Lustre, NFS, local ones. What kernels say of them."""

from __future__ import annotations

from pathlib import Path

from qnib.model import Domain

DOMAIN = Domain(
    name="storage",
    title="Storage",
    description="Lustre, NFS, local file systems and disks, by what kernels and smartd say of them.",
    folder=Path(__file__).parent,
)
