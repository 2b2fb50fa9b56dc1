#!/bin/bash
# Runs a compute node: munge, slurmd and the agent. What the node is comes from the environment:
# QNIB_CONTROLLER (address), QNIB_NODE (the line slurmd declares), QNIB_OWN_HOMES (set: nobody else makes them).
. "${0%/*}/common.sh"

add_users
[ -z "$QNIB_OWN_HOMES" ] || make_homes # the controller, which makes them, is on another host
start_agent
start_munge
mkdir -p /run/slurm /var/spool/slurmd
rm -f /etc/slurm/plugstack.conf
start_slurmd &
wait $!
say "slurmd ended with status $?"
wait
