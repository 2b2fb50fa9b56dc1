#!/bin/bash
# Waits until NODES nodes are idle and three srun over all of them came back in a row, each within a second.
# ready.sh NODES PATIENCE PARTITION STEPS: the steps are over STEPS of them; prints one line per step; exit status 1 when PATIENCE seconds were not enough.
nodes=$1 patience=$2 partition=$3 steps=$4
began=${EPOCHREALTIME/./}
past() { echo $(((${EPOCHREALTIME/./} - began) / 1000)); }

while idle=$(sinfo -h -p "$partition" -t idle -o %D 2>/dev/null) && [ "${idle:-0}" -lt "$nodes" ] || [ -z "$idle" ]; do
    if (($(past) > patience * 1000)); then
        echo "missing $(sinfo -h -N -p "$partition" -t idle -o %N 2>/dev/null | sort -u | tr '\n' ' ')"
        exit 1
    fi
    sleep 0.1
done
echo "registered $(past)"

# The step sleeps longer than the nodes differ in starting it: a node that ends a step before its neighbour has
# begun it retries its report a second later, and the next srun waits for that. No MPI: there is none to start here.
# docs/decisions/0002 has the figures.
# Two hundred nodes on two cores need more than the second that sixteen do.
quick=$((1000 + (steps > 16 ? (steps - 16) * 50 : 0)))
row=0 slow=0
while ((row < 3)); do
    start=${EPOCHREALTIME/./}
    timeout $((15 + steps / 4)) srun --quiet --mpi=none -p "$partition" -N "$steps" -J ready sleep 0.25
    status=$?
    took=$(((${EPOCHREALTIME/./} - start) / 1000))
    echo "srun $took $status"
    if ((status == 0)); then slow=$((slow + 1)); else slow=0; fi
    if ((status == 0 && took < quick)); then row=$((row + 1)); else row=0; fi
    if ((row < 3 && $(past) > patience * 1000)); then
        # A machine busy with other work: every step came back, only not within a second.
        if ((slow >= 3)); then echo "slow $(past)" && break; else exit 1; fi
    fi
done
echo "ready $(past)"
