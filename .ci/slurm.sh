#!/usr/bin/env bash
# One-node SLURM on localhost, for a container without systemd. Run as root: .ci/slurm.sh up|down
set -euo pipefail
S=${SLURM_LOCAL_STATE:-/var/tmp/slurm-localhost}
# a container's pid 1 may not reap, and a zombie answers kill -0: read its state
alive() { local p; p=$(cat "$1" 2>/dev/null) && [ -r "/proc/$p/stat" ] && ! grep -q ') Z ' "/proc/$p/stat"; }
stop() { if alive "$1"; then kill "$(cat "$1")"; for _ in $(seq 80); do alive "$1" || break; sleep 0.25; done; fi; rm -f "$1"; }
until_ok() { for _ in $(seq 60); do "$@" >/dev/null 2>&1 && return 0; sleep 0.5; done; echo "gave up: $*" >&2; return 1; }
as() { local u=$1; shift; setpriv --reuid="$u" --regid="$u" --clear-groups "$@"; }
idle() { [ "$(sinfo -h -o %T -p debug)" = idle ]; }
up() {
  if ! command -v slurmdbd || ! command -v slurmd || ! command -v mariadbd || ! command -v munged; then
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d   # no daemon starts on install
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm slurmdbd munge mariadb-server
    rm -f /usr/sbin/policy-rc.d
  fi >/dev/null
  local host mem; host=$(hostname -s); mem=$(awk '/MemTotal/{print int($2/1024*0.9)}' /proc/meminfo)
  getent hosts "$host" >/dev/null || echo "127.0.0.1 $host" >>/etc/hosts
  install -d -o slurm -g slurm "$S" "$S/ctld" "$S/dbd"; install -d "$S/d"; install -d -o mysql -g mysql "$S/db"
  install -d -o munge -g munge -m 0711 /run/munge
  install -d -o munge -g munge -m 0700 /var/log/munge /var/lib/munge /etc/munge
  [ -s /etc/munge/munge.key ] || head -c 1024 /dev/urandom >/etc/munge/munge.key
  chown munge:munge /etc/munge/munge.key; chmod 400 /etc/munge/munge.key
  install -d /etc/slurm
  cat >/etc/slurm/slurm.conf <<CONF
ClusterName=localhost
SlurmctldHost=$host(127.0.0.1)
SlurmctldParameters=preempt_send_user_signal
AuthInfo=cred_expire=10
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser=slurm
StateSaveLocation=$S/ctld
SlurmdSpoolDir=$S/d
SlurmctldPidFile=$S/ctld/pid
SlurmdPidFile=$S/d/pid
SlurmctldLogFile=$S/ctld/log
SlurmdLogFile=$S/d/log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
ReturnToService=2
SchedulerParameters=bf_interval=2,sched_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=5
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=$mem State=UNKNOWN
PartitionName=debug Nodes=$host Default=YES MaxTime=60 PriorityTier=1 GraceTime=20
PartitionName=high Nodes=$host MaxTime=60 PriorityTier=10 PreemptMode=OFF
CONF
  install -o slurm -g slurm -m 600 /dev/stdin /etc/slurm/slurmdbd.conf <<CONF
DbdHost=localhost
DbdAddr=127.0.0.1
CommunicationParameters=NoInAddrAny
SlurmUser=slurm
PidFile=$S/dbd/pid
LogFile=$S/dbd/log
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=slurm
StorageLoc=slurm_acct_db
CONF
  munge -n </dev/null 2>/dev/null | unmunge >/dev/null 2>&1 || as munge munged --force
  local db=(--no-defaults --socket="$S/db/sock")
  if ! alive "$S/db/pid"; then      # accounting: submitit polls sacct
    [ -d "$S/db/data" ] || mariadb-install-db --no-defaults --user=mysql --datadir="$S/db/data" --auth-root-authentication-method=socket >/dev/null
    setsid mariadbd "${db[@]}" --user=mysql --datadir="$S/db/data" --pid-file="$S/db/pid" --skip-networking \
      --innodb-buffer-pool-size=64M --innodb-lock-wait-timeout=900 </dev/null >"$S/db/log" 2>&1 &
    until_ok mariadb-admin "${db[@]}" ping
    mariadb "${db[@]}" -e "CREATE DATABASE IF NOT EXISTS slurm_acct_db; CREATE USER IF NOT EXISTS slurm@localhost
      IDENTIFIED VIA unix_socket; GRANT ALL ON slurm_acct_db.* TO slurm@localhost"
  fi
  alive "$S/dbd/pid" || MYSQL_UNIX_PORT=$S/db/sock as slurm slurmdbd
  until_ok sacctmgr -n show cluster
  sacctmgr -n show cluster format=cluster | grep -q localhost || sacctmgr -i -Q add cluster localhost >/dev/null
  alive "$S/ctld/pid" || slurmctld
  alive "$S/d/pid" || slurmd -N "$host"
  until_ok idle || { cat "$S/ctld/log" "$S/d/log"; return 1; }
  sinfo
}
down() {
  scancel -u root 2>/dev/null || true
  for p in "$S/d/pid" "$S/ctld/pid" "$S/dbd/pid" "$S/db/pid" /run/munge/munged.pid; do stop "$p"; done
  rm -rf "$S"
}
case "${1:-}" in up | down) "$1" ;; *) echo "usage: $0 up|down" >&2; exit 2 ;; esac
