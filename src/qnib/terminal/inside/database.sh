#!/bin/bash
# Runs accounting: munge, MariaDB, slurmdbd and the agent. MariaDB listens on a socket alone and knows who is at its other
# end by what the kernel says, so that there is no password to keep. slurmdbd listens on the cluster's network.
. "${0%/*}/common.sh"

add_users
start_agent
folder 0755 slurm:slurm /run/slurm
folder 0755 mysql:mysql /run/mysqld
folder 0700 mysql:mysql /var/lib/mysql/data
(umask 0177 && cat /etc/qnib/slurmdbd.conf >/etc/slurm/slurmdbd.conf) && chown slurm:slurm /etc/slurm/slurmdbd.conf
take_key
start_munge

as() { setpriv --reuid="$1" --regid="$1" --clear-groups "${@:2}"; }
if [ ! -d /var/lib/mysql/data/mysql ]; then
    # Made aside: what was cut off half way is begun anew.
    rm -rf /var/lib/mysql/data
    folder 0700 mysql:mysql /var/lib/mysql/part
    as mysql mariadb-install-db --no-defaults --datadir=/var/lib/mysql/part --skip-test-db --innodb-log-file-size=16M \
        --auth-root-authentication-method=socket --auth-root-socket-user=mysql >/dev/null &&
        mv /var/lib/mysql/part /var/lib/mysql/data
fi
cat >/run/mysqld/users.sql <<END
CREATE DATABASE IF NOT EXISTS slurm_acct_db;
CREATE USER IF NOT EXISTS slurm@localhost IDENTIFIED VIA unix_socket;
GRANT ALL ON slurm_acct_db.* TO slurm@localhost;
END
# Small: a virtual cluster has thousands of jobs, not millions. The timeout is what slurmdbd asks for.
keep as mysql mariadbd --no-defaults --datadir=/var/lib/mysql/data --socket=/run/mysqld/mysqld.sock --skip-networking \
    --pid-file=/run/mysqld/mysqld.pid --init-file=/run/mysqld/users.sql --performance-schema=OFF --skip-log-bin \
    --innodb-buffer-pool-size=32M --innodb-log-file-size=16M --innodb-log-buffer-size=4M --innodb-lock-wait-timeout=900 \
    --innodb-flush-log-at-trx-commit=2 --key-buffer-size=1M --aria-pagecache-buffer-size=4M --max-connections=40 &
until [ -S /run/mysqld/mysqld.sock ]; do sleep 0.05; done
keep as slurm slurmdbd -D &
wait
