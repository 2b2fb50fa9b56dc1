#!/bin/bash
# Runs a compute node: munge, slurmd and the agent. What the node is comes from the environment:
# QNIB_CONTROLLER (address), QNIB_NODE (the line slurmd declares).
. "${0%/*}/common.sh"

add_users
start_agent
start_munge
mkdir -p /run/slurm /var/spool/slurmd
rm -f /etc/slurm/plugstack.conf
start_slurmd &
wait $!
say "slurmd ended with status $?"
wait
