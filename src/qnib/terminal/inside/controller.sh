#!/bin/bash
# Runs the controller: munge, slurmctld and the agent. Users' homes are made on the shared volume.
. "${0%/*}/common.sh"

# Before anything that asks SLURM: without this file its tools look for a controller in the DNS.
cp /etc/qnib/slurm.conf /etc/qnib/cgroup.conf /etc/slurm/
# Accounting is there for good once it was there: slurmctld then knows enough to start without slurmdbd.
[ ! -e /var/lib/slurm/accounting ] || cp /etc/qnib/accounting.conf /etc/slurm/slurm.conf
add_users
start_agent
make_homes
folder 0755 slurm:slurm /run/slurm
rm -f /etc/slurm/plugstack.conf # includes a folder in a way SLURM complains about
take_key
# The port is in slurm.conf, too. slurmctld waits until somebody answers there: jobcomp.py says why.
push=$(sed -n 's,^JobCompLoc=.*@127.0.0.1:\([0-9]*\)/.*,\1,p' /etc/slurm/slurm.conf)
[ -z "$push" ] || keep python3 -IS "${0%/*}/jobcomp.py" "$push" &
start_munge
[ ! -e /etc/qnib/accounting.conf ] || keep python3 "${0%/*}/accounting.py" &
# Without state of an earlier life there is nothing to recover, and nothing to report missing.
[ -e /var/lib/slurm/slurmctld/node_state ] || fresh=-c
[ -z "$push" ] || until (: <"/dev/tcp/127.0.0.1/$push") 2>/dev/null; do sleep 0.02; done
while :; do
    slurmctld -D -i $fresh &
    wait $!
    status=$? fresh=
    # accounting.py ends it to begin anew.
    rm /run/slurmctld.again 2>/dev/null || break
done
say "slurmctld ended with status $status"
wait
