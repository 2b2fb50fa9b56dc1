#!/bin/bash
# Starts a node's daemons again with a clock that is SECONDS ahead (or behind); 0: with the right one. skew.sh SECONDS
. "${0%/*}/common.sh"
exec >/proc/1/fd/1 2>&1 </dev/null # who called waits for the output to end, and the daemons keep it open

pkill -x slurmd
pkill -x munged
while pgrep -x 'slurmd|munged' >/dev/null; do sleep 0.05; done
if [ "$1" != 0 ]; then
    # Jobs and tools keep the right time: only what the daemons believe is wrong. No shared memory: munged is another user.
    CLOCK="env LD_PRELOAD=$(echo /usr/lib/*/faketime/libfaketime.so.1) FAKETIME=$(printf '%+ds' "$1")"
    CLOCK+=" FAKETIME_DISABLE_SHM=1 FAKETIME_DONT_FAKE_MONOTONIC=1"
fi
start_munge || exit 1
start_slurmd &
