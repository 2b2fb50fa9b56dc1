"""Jobs and the machines they run on, as SLURM sees them."""

from __future__ import annotations

from qnib.model import EntityKind, RelationKind

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
            "command": "string", "array_job": "int", "array_task": "string",
        },
    ),
    EntityKind(
        "Attempt", "One run of a job; a requeue makes the next one", key="job key # number from 1",
        properties={
            "number": "int", "state": "string", "start": "time", "end": "time", "nodes": "string",
            "exit_code": "int", "signal": "int",
        },
    ),
    EntityKind("User", "Who submits jobs", key="login name", properties={"name": "string", "group": "string"}),
    EntityKind("Account", "What a job is charged to", key="name", properties={"name": "string"}),
)

RELATIONS = (
    RelationKind("IS", "Node", "Host", "The node of SLURM is this machine"),
    RelationKind("PART_OF", "Node", "Partition", "The node belongs to the partition"),
    RelationKind("IN", "Node", "Cluster", "The node belongs to the cluster"),
    RelationKind("SUBMITTED", "User", "Job", "The user submitted the job"),
    RelationKind("CHARGED_TO", "Job", "Account", "The job is charged to the account"),
    RelationKind("QUEUED_IN", "Job", "Partition", "The job waits or runs in the partition"),
    RelationKind("ATTEMPT_OF", "Attempt", "Job", "A run of the job"),
    RelationKind(
        "JOBCLIENT", "Job", "Host", "The job had an allocation on the host, for this interval",
        properties={"attempt": "int", "cpus": "int", "memory": "int"},
    ),
)
