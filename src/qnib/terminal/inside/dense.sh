#!/bin/bash
# Runs many compute nodes: one munge and one agent, and slurmd for each name in QNIB_NODES, told apart by their ports.
. "${0%/*}/common.sh"

cp /etc/qnib/slurm.conf /etc/qnib/cgroup.conf /etc/slurm/
add_users
start_agent
start_munge
mkdir -p /run/slurm
rm -f /etc/slurm/plugstack.conf
for node in $QNIB_NODES; do
    mkdir -p "/var/spool/slurmd/$node"
    folder 1777 root:root "/tmp/$node"
    slurmd -D -N "$node" &
done
wait
