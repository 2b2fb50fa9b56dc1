"""Jobs and the machines they run on, as SLURM sees them."""

from __future__ import annotations

from qnib.model import EntityKind, PropertyType, RelationKind

_LIMITS: dict[str, PropertyType] = {
    "shares": "int", "default_qos": "string", "qos": "string", "grp_tres": "string", "grp_jobs": "int",
    "max_jobs": "int", "max_submit": "int", "max_wall": "int",
}
"""What accounting allows an account, or a user of it."""

ENTITIES = (
    EntityKind("Cluster", "A SLURM cluster", key="ClusterName", properties={"name": "string"}),
    EntityKind(
        "Partition", "A queue with its nodes", key="name",
        properties={
            "name": "string", "state": "string", "limit": "int", "nodes": "string", "node_count": "int",
            "default": "bool",
        },
    ),
    EntityKind(
        "Node", "A host as SLURM sees it", key="NodeName",
        properties={
            "name": "string", "state": "string", "reason": "string", "reason_by": "string", "reason_since": "time",
            "cpus": "int", "cpus_allocated": "int", "memory": "int", "memory_allocated": "int", "version": "string",
            "features": "string", "gres": "string",
        },
    ),
    EntityKind(
        "Job", "Work submitted by a user; ends when it ended, and stays in the record",
        key="job id @ submit time in epoch seconds, because ids repeat",
        properties={
            "id": "int", "name": "string", "user": "string", "group": "string", "account": "string",
            "partition": "string", "qos": "string", "state": "string", "reason": "string", "submit": "time",
            "start": "time", "end": "time", "limit": "int", "nodes": "string", "node_count": "int", "cpus": "int",
            "min_memory": "int", "exit_code": "int", "signal": "int", "attempt": "int", "work_dir": "string",
            "command": "string", "array_job": "int", "array_task": "string", "het_job": "int", "het_offset": "int",
            "tres": "string", "sluid": "string",
        },
    ),
    EntityKind(
        "Attempt", "One run of a job; a requeue makes the next one", key="job key # number from 1",
        properties={
            "number": "int", "state": "string", "start": "time", "end": "time", "nodes": "string",
            "exit_code": "int", "signal": "int",
        },
    ),
    EntityKind(
        "Step", "A step of an attempt: what one srun started, or batch, or extern", key="attempt key . step id",
        properties={
            "id": "string", "name": "string", "state": "string", "start": "time", "end": "time", "nodes": "string",
            "tasks": "int", "exit_code": "int", "signal": "int", "max_memory": "int",
        },
    ),
    EntityKind(
        "Script", "A batch script, stored once however many jobs ran it", key="first 16 hex digits of its SHA-256",
        properties={"text": "string", "lines": "int"},
    ),
    EntityKind(
        "Reservation", "Nodes kept for some for a while", key="name @ start",
        properties={
            "name": "string", "start": "time", "end": "time", "nodes": "string", "node_count": "int",
            "partition": "string", "users": "string", "accounts": "string", "flags": "string",
        },
    ),
    EntityKind(
        "QOS", "A quality of service that jobs ask for", key="name",
        properties={
            "name": "string", "description": "string", "priority": "int", "preempt": "string", "preempt_mode": "string",
            "usage_factor": "float", "grp_tres": "string", "grp_jobs": "int", "max_tres": "string",
            "max_tres_per_user": "string", "max_jobs_per_user": "int", "max_submit_per_user": "int", "max_wall": "int",
        },
    ),
    EntityKind("User", "Who submits jobs", key="login name", properties={
        "name": "string", "group": "string", "default_account": "string",
    }),
    EntityKind("Account", "What a job is charged to", key="name", properties={
        "name": "string", "description": "string", "organization": "string", **_LIMITS,
    }),
)

RELATIONS = (
    RelationKind("IS", "Node", "Host", "The node of SLURM is this machine"),
    RelationKind("PART_OF", "Node", "Partition", "The node belongs to the partition"),
    RelationKind("IN", "Node", "Cluster", "The node belongs to the cluster"),
    RelationKind("SUBMITTED", "User", "Job", "The user submitted the job"),
    RelationKind("CHARGED_TO", "Job", "Account", "The job is charged to the account"),
    RelationKind("BELOW", "Account", "Account", "The account is a part of this one"),
    RelationKind("MAY_CHARGE", "User", "Account", "The user's jobs may be charged to the account", properties=_LIMITS),
    RelationKind("QUEUED_IN", "Job", "Partition", "The job waits or runs in the partition"),
    RelationKind("ATTEMPT_OF", "Attempt", "Job", "A run of the job"),
    RelationKind("RESERVES", "Reservation", "Host", "The host is kept for the reservation"),
    RelationKind("STEP_OF", "Step", "Attempt", "A step of this run"),
    RelationKind("RAN", "Job", "Script", "The job's batch script"),
    RelationKind(
        "JOBCLIENT", "Job", "Host", "The job had an allocation on the host, for this interval",
        properties={"attempt": "int", "cpus": "int", "memory": "int"},
    ),
)
