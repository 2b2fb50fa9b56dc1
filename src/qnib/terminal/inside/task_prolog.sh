#!/bin/sh
# SLURM's TaskProlog on cgroup v1: puts the task that is about to start, our parent, where its job's cores are limited.
# It runs as the job's user; prolog.sh gave him that file.
for job in /sys/fs/cgroup/cpu/slurm_jobs/job_"${SLURM_JOB_ID}"_*; do
    echo "$PPID" >"$job/cgroup.procs" || exit 1
done
