#!/bin/bash
# Runs the controller: munge, slurmctld and the agent. Users' homes are made on the shared volume.
. "${0%/*}/common.sh"

# Before anything that asks SLURM: without this file its tools look for a controller in the DNS.
cp /etc/qnib/slurm.conf /etc/qnib/cgroup.conf /etc/slurm/
add_users
start_agent
make_homes
folder 0755 slurm:slurm /run/slurm
rm -f /etc/slurm/plugstack.conf # includes a folder in a way SLURM complains about
start_munge
# Without state of an earlier life there is nothing to recover, and nothing to report missing.
[ -e /var/lib/slurm/slurmctld/node_state ] || fresh=-c
slurmctld -D -i $fresh &
wait $!
say "slurmctld ended with status $?"
wait
