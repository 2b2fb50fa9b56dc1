"""The daemons every node runs: sshd, PAM, munge, systemd, clocks. What they say of logins and of themselves."""

from __future__ import annotations

from pathlib import Path

from qnib.model import Domain

DOMAIN = Domain(
    name="service",
    title="Services",
    description="Logins (sshd, PAM, sudo), munge, systemd and the daemons that keep the clock.",
    folder=Path(__file__).parent,
)
