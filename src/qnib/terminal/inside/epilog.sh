#!/bin/sh
# slurmd's Epilog on cgroup v1: removes what prolog.sh made. Something that will not die may still be in it; then it goes
# with the node.
rmdir /sys/fs/cgroup/cpu/slurm_jobs/job_"${SLURM_JOB_ID}"_* 2>/dev/null
exit 0
