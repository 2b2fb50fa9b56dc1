# Shared by the scripts that run as PID 1's only child. Sourced, not run.
export PYTHONPATH=/usr/lib/qnib PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1

say() { echo "qnib: $*"; }

# folder MODE OWNER PATH: made while it is still root's, since the right to chmod others' files is not ours.
folder() {
    [ -d "$3" ] || { mkdir -p "$3" && chmod "$1" "$3" && chown "$2" "$3"; }
}

# The cluster's users, once in the life of a container.
add_users() {
    grep -qFf /etc/qnib/group /etc/group && return
    cat /etc/qnib/group >>/etc/group && cat /etc/qnib/passwd >>/etc/passwd
}

# On the volume that the containers of one host share.
make_homes() {
    while IFS=: read -r user _ _ group _ home _; do
        folder 0700 "$user:$group" "$home"
    done </etc/qnib/passwd
}

# munge wants its key and folders owned by its own user; the key comes from a read-only mount.
start_munge() {
    folder 0755 munge:munge /run/munge
    if [ ! -e /run/munge/key ]; then
        (umask 0377 && cat /etc/qnib/munge.key >/run/munge/key) && chown munge:munge /run/munge/key
    fi
    # $CLOCK is empty, or what makes a daemon believe another time (skew.sh).
    setpriv --reuid=munge --regid=munge --clear-groups $CLOCK munged --num-threads=10 --key-file=/run/munge/key
}

# The key that tokens are signed with is slurmctld's and slurmdbd's, where there is one.
take_key() {
    [ -e /etc/qnib/jwt.key ] || return 0
    [ -e /run/slurm/jwt.key ] || { (umask 0377 && cat /etc/qnib/jwt.key >/run/slurm/jwt.key) && chown slurm:slurm /run/slurm/jwt.key; }
}

# follow_accounting FILE: replaces slurm.conf there once accounting is kept.
follow_accounting() {
    [ -e /etc/qnib/accounting.conf ] || return 0
    (
        until [ -e /run/services/kept ]; do sleep 1; done
        [ ! -e "$1" ] || { cp /etc/qnib/accounting.conf "$1.new" && mv "$1.new" "$1"; }
    ) &
}

# keep COMMAND …: starts it again whenever it ends, a second later.
keep() {
    while :; do
        ("$@")
        say "$* ended with status $?; starting it again" | cut -c 1-200
        sleep 1
    done
}

start_slurmd() { $CLOCK slurmd -D -Z --conf-server "$QNIB_CONTROLLER:6817" --conf "$QNIB_NODE"; }

# The observer must never stop the observed: it runs beside the daemons and is started again when it ends.
start_agent() {
    [ -e /usr/lib/qnib/qnib/agent/__main__.py ] && [ -z "${QNIB_NOAGENT:-}" ] || return 0
    (
        while :; do
            nice -n 10 python3 -m qnib.agent /etc/qnib/agent.json
            say "the agent ended with status $?; starting it again"
            sleep 5
        done
    ) &
}
