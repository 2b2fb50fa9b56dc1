#!/bin/bash
# Runs slurmrestd and the agent. slurmrestd is nobody here and has no key: whom it speaks for is in the token that each
# request brings, and slurmctld looks whether that is true. QNIB_OPENAPI and QNIB_PARSER say what of it is loaded.
. "${0%/*}/common.sh"

add_users
start_agent
cat /etc/qnib/slurm.conf /etc/qnib/accounting.conf 2>/dev/null >/etc/slurm/slurm.conf
rm -f /etc/slurm/plugstack.conf
serve() {
    exec env SLURM_JWT=daemon setpriv --reuid=nobody --regid=nogroup --clear-groups slurmrestd -a rest_auth/jwt \
        -s "$QNIB_OPENAPI" ${QNIB_PARSER:+-d "$QNIB_PARSER"} 0.0.0.0:6820
}
answers() {
    exec 4<>/dev/tcp/127.0.0.1/6820 && printf 'GET / HTTP/1.0\r\n\r\n' >&4 && read -r -t 5 -u 4 line && [ -n "$line" ]
}
# 22.05 may cease to take connections without a word: what does not answer twice in a row is started again.
watch() {
    silent=0
    while sleep 30; do
        if (answers) 2>/dev/null; then silent=0; else silent=$((silent + 1)); fi
        ((silent < 2)) || { say "slurmrestd does not answer; ending it" && pkill -KILL -x slurmrestd && silent=0; }
    done
}
watch &
keep serve &
wait
