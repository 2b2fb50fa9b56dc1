#!/bin/bash
# Runs a compute node: munge, slurmd and the agent. What the node is comes from the environment:
# QNIB_CONTROLLER (address), QNIB_NODE (the line slurmd declares), QNIB_OWN_HOMES (set: nobody else makes them).
. "${0%/*}/common.sh"

add_users
[ -z "$QNIB_OWN_HOMES" ] || make_homes # the controller, which makes them, is on another host
start_agent
start_munge
mkdir -p /run/slurm /var/spool/slurmd
if [ -d /run/qnib/jobs ]; then
    printf '#!/bin/sh\nexec python3 -IS %s/wrap.py "$@"\n' "${0%/*}" >/usr/local/bin/qnib-wrap && chmod 0755 /usr/local/bin/qnib-wrap
fi
rm -f /etc/slurm/plugstack.conf
follow_accounting /var/spool/slurmd/conf-cache/slurm.conf
start_slurmd &
wait $!
say "slurmd ended with status $?"
wait
