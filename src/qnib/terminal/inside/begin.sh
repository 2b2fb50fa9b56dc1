#!/bin/bash
# slurmd's Prolog where jobs may ask for an image. A job without one costs no process more.
tree=/sys/fs/cgroup
if [ -d "$tree/qnib-$SLURM_CLUSTER_NAME/$SLURMD_NODENAME/in/system.slice" ] ||
    { [ -w "$tree/cpu/cgroup.procs" ] && [ ! -e "$tree/cpu/cpuacct.usage" ]; }; then
    . "${0%/*}/prolog.sh"
fi
if [[ $SLURM_JOB_COMMENT =~ (^|[[:space:],;])image[:=]([a-z][a-z0-9_-]*) ]]; then
    exec python3 -IS "${0%/*}/ask.py" begin "${BASH_REMATCH[2]}"
fi
exit 0
