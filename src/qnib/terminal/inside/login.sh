#!/bin/bash
# Runs the login node: munge, sshd and the agent. Users log in with the cluster's own key, or one they put into their home.
. "${0%/*}/common.sh"

cp /etc/qnib/slurm.conf /etc/qnib/cgroup.conf /etc/slurm/
rm -f /etc/slurm/plugstack.conf
add_users
start_agent
start_munge
follow_accounting /etc/slurm/slurm.conf
folder 0755 root:root /run/sshd
# Files bound from outside belong to whoever started the cluster; sshd insists on root and on nobody else reading them.
(umask 0077 && cat /etc/qnib/ssh/host_key >/run/sshd/host_key)
mkdir -p /run/sshd/keys && cat /etc/qnib/ssh/authorized_keys >/run/sshd/keys/authorized_keys
# Users' jobs take their environment from here: what else is in this container's is no business of theirs.
env -i PATH="$PATH" /usr/sbin/sshd -D -e -f "${0%/*}/sshd_config" &
wait $!
say "sshd ended with status $?"
wait
