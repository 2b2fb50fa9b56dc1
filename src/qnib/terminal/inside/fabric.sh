#!/bin/bash
# Runs the fabric: ibsim plays the hardware, a real OpenSM routes it, the ordinary tools look at it.
# ibsim takes its commands (Link, Unlink, PerformanceSet …) from the fifo /run/fabric/commands. What nodes send each other
# comes in /run/fabric/traffic.json, OpenSM leaves its routes in /run/fabric/opensm-lfts.dump: both are shared with the host
# (over several hosts: carried by the engine).
# QNIB_NODES, QNIB_SWITCHES, QNIB_PORTS are ibsim's table sizes.
. "${0%/*}/common.sh"

# The simulated device files of each client are made in its working directory.
mkdir -p /run/umad
cd /run/umad || exit 1
preload=$(echo /usr/lib/*/umad2sim/libumad2sim.so)

# Every tool that speaks to the fabric finds the simulator by itself, and never hangs on a lost answer.
for tool in /usr/sbin/ib* /usr/sbin/perfquery /usr/sbin/sminfo /usr/sbin/smp* /usr/sbin/sa* /usr/sbin/dump_fts; do
    [ -x "$tool" ] || continue
    printf '#!/bin/sh\nexport LD_PRELOAD=%s SIM_HOST=fabric\ncd /run/umad || exit 1\nexec timeout -k 1 "${QNIB_TIMEOUT:-20}" %s "$@"\n' \
        "$preload" "$tool" >"/usr/local/bin/${tool##*/}"
    chmod 0755 "/usr/local/bin/${tool##*/}"
done

start_agent
mkdir -p -m 0700 /run/fabric # over several hosts it is nobody's but the container's
rm -f /run/fabric/*
mkfifo -m 0600 /run/fabric/commands
exec 3<>/run/fabric/commands # held open: ibsim would take the end of one writer for the end of all commands
ibsim -s -N "$QNIB_NODES" -S "$QNIB_SWITCHES" -P "$QNIB_PORTS" /etc/qnib/fabric.topology <&3 >>/run/fabric/ibsim.log 2>&1 &
cat /etc/qnib/fabric.start >&3 # more than a pipe holds in a wide fabric: ibsim reads already
# The last command of fabric.start asks for help: its answer means all before it is done.
until grep -q '^	Help' /run/fabric/ibsim.log 2>/dev/null; do sleep 0.05; done
: >/var/log/opensm.log
LD_PRELOAD=$preload SIM_HOST=fabric opensm -s 5 -d2 -D 0xC3 -L 64 --dump_files_dir /run/fabric \
    -f /var/log/opensm.log >/dev/null 2>&1 &
daemon=$!
python3 "${0%/*}/carry.py" &
wait $daemon
say "opensm ended with status $?"
wait
