#!/bin/bash
# A job of a trace: lasts SECONDS, then ends as OUTCOME, with CODE where it failed. replayed.sh SECONDS OUTCOME CODE
seconds=$1 outcome=$2 code=$3
say() { logger -t "slurm_$SLURM_JOB_ID" -- "$1"; }

began=${EPOCHREALTIME/./}
whole=$((10#${seconds%.*} * 1000 + 10#$(printf %.3s "${seconds#*.}000")))
past() { echo $(((${EPOCHREALTIME/./} - began) / 1000)); }
while now=$(past) && ((now + 2000 <= whole)); do
    sleep 2
    say "progress $(($(past) / 1000))/$(((whole + 999) / 1000)) rate 1.0 s/s"
done
now=$(past)
((now < whole)) && sleep "$(printf '%d.%03d' $(((whole - now) / 1000)) $(((whole - now) % 1000)))"

case $outcome in
    FAILED)
        say "ends with exit code $((code > 0 ? code : 1)), as it did when it was traced"
        exit $((code > 0 ? code : 1)) ;;
    CANCELLED) scancel "$SLURM_JOB_ID" && sleep 60 ;;
    # Limits are whole minutes; the end of a running job is not. SLURM looks every half a minute.
    TIMEOUT) scontrol update "JobId=$SLURM_JOB_ID" EndTime=now && sleep 120 ;;
    OUT_OF_MEMORY) python3 -c "kept = [b'1' * (1 << 20) for _ in range(80)]" ;;
    *) exit 0 ;;
esac
