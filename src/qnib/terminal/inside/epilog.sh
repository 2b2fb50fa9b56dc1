#!/bin/bash
# slurmd's Epilog: says that the job is over on this node, into the node's own log.
exec logger -t epilog "epilog of job $SLURM_JOB_ID done"
