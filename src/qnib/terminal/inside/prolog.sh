#!/bin/bash
# slurmd's Prolog where jobs are limited: makes the job's cgroup, with a quota of as many cores as the job has on this node.
# On v2 before slurmstepd makes the same; on v1 in the controller cpu, where each task then puts itself (task_prolog.sh).
# SLURM tells them in the order of the node list, folded: 2, 1(x3), 2,1(x2) for compute3, compute[0-2,5].
# Every job waits for this, so it starts no process that it can do without.

# Where this node stands in the list.
mine=${SLURMD_NODENAME##*[!0-9]} place=0
IFS=,
if [[ $SLURM_JOB_NODELIST == *"["* ]]; then
    list=${SLURM_JOB_NODELIST#*[}
    for part in ${list%]}; do
        first=${part%-*} last=${part#*-}
        if ((10#$mine <= 10#$last)); then
            place=$((place + 10#$mine - 10#$first))
            break
        fi
        place=$((place + 10#$last - 10#$first + 1))
    done
fi

# The count at that place.
cpus=
for part in $SLURM_JOB_CPUS_PER_NODE; do
    times=1
    [[ $part == *"(x"* ]] && times=${part#*(x} times=${times%)}
    if ((place < times)); then
        cpus=${part%%(*}
        break
    fi
    place=$((place - times))
done
if [ -z "$cpus" ]; then
    echo "no CPUs of $SLURMD_NODENAME in $SLURM_JOB_CPUS_PER_NODE for $SLURM_JOB_NODELIST" >&2
    exit 1
fi

if [ -e "${QNIB_CGROUPS:-/sys/fs/cgroup}/cpu/cpu.cfs_quota_us" ]; then
    top=${QNIB_CGROUPS:-/sys/fs/cgroup}/cpu
    job=$top/slurm_jobs/job_${SLURM_JOB_ID}_$cpus
    mkdir -p "$job" || exit 1
    # Refused where the node itself has less (a share of a core, or a fault that slows it): then that is the job's limit.
    if ! echo $((cpus * 100000)) 2>/dev/null >"$job/cpu.cfs_quota_us"; then
        read -r most <"$top/cpu.cfs_quota_us"
        ((most > 0 && most < cpus * 100000)) && echo "$most" >"$job/cpu.cfs_quota_us" || exit 1
    fi
    # Its user may put processes of his own in, and none anywhere else.
    chown "$SLURM_JOB_UID" "$job/cgroup.procs" || exit 1
else
    # The scope is as the host made it (terminal/cgroups.py). A job comes back here under its number when it is requeued.
    slice=${QNIB_CGROUPS:-/sys/fs/cgroup}/qnib-$SLURM_CLUSTER_NAME/$SLURMD_NODENAME/in/system.slice
    job=$slice/${SLURMD_NODENAME}_slurmstepd.scope/job_$SLURM_JOB_ID
    [ -d "$job" ] || mkdir "$job" || exit 1
    echo "$((cpus * 100000)) 100000" >"$job/cpu.max" || exit 1
fi
