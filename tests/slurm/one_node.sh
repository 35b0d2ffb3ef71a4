#!/usr/bin/env bash
# Runs a command on a real SLURM of one node on this machine, then stops it:
#   tests/slurm/one_node.sh FOLDER COMMAND [ARGUMENT...]
# FOLDER (made; afterwards the daemons' logs lie in FOLDER/log) holds all that SLURM writes. Needs root and Debian's packages slurm-wlm and
# munge. The node has this machine's cores and a GPU that is none (/dev/null, so SLURM counts it). No cgroups, no systemd, no slurmdbd: `sacct` would wait
# for ever, so give snakemake `--slurm-status-command squeue`. /etc/slurm is replaced for these processes alone (a private mount namespace),
# since SLURM's job steps look for their configuration there; the host's files stay as they are.
set -euo pipefail

if [ "${1:-}" != --inside ]; then
  mkdir -p "${1:?folder}"
  folder=$(realpath "$1")
  shift
  exec unshare --mount --propagation private "$0" --inside "$folder" "$@"
fi
folder=$2
shift 2

host=$(hostname -s)
mkdir -p "$folder"/{etc,state,spool,log,munge}
chmod 711 "$folder/munge"
memory=$(awk '/^MemTotal:/ {print int($2 / 1024 * 0.95)}' /proc/meminfo)  # more than there is would drain the node
port=$((20000 + RANDOM % 20000))  # so that two tests, or a SLURM of the host, do not meet

cat > "$folder/etc/slurm.conf" <<END
ClusterName=one
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
AuthInfo=socket=$folder/munge/munge.sock
SlurmUser=root
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=5,bf_interval=5
ReturnToService=2
MinJobAge=3600
KillWait=2
GresTypes=gpu
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(getconf _NPROCESSORS_ONLN) RealMemory=$memory Gres=gpu:1
PartitionName=main Nodes=ALL Default=YES
END
# A count without a file would drain the node.
echo "NodeName=$host Name=gpu File=/dev/null" > "$folder/etc/gres.conf"

[ -d /etc/slurm ] || { mkdir /etc/slurm && made=yes; }
mount --bind "$folder/etc" /etc/slurm

daemons=(slurmd slurmctld munge/munged)
stop() {
  local status=$?
  trap - EXIT INT TERM
  kill "${command:-}" 2> /dev/null || true
  squeue --noheader --format=%i 2> "$folder/log/stop" | xargs --no-run-if-empty scancel || true
  for daemon in "${daemons[@]}"; do
    if [ -s "$folder/$daemon.pid" ]; then
      pid=$(cat "$folder/$daemon.pid")
      kill "$pid" 2> /dev/null || continue
      for _ in $(seq 100); do kill -0 "$pid" 2> /dev/null && sleep 0.1 || break; done
    fi
  done
  umount /etc/slurm && [ "${made:-}" = yes ] && rmdir /etc/slurm
  exit "$status"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

head --bytes 1024 /dev/urandom > "$folder/munge/key"
chmod 400 "$folder/munge/key"
munged --force --key-file="$folder/munge/key" --socket="$folder/munge/munge.sock" --pid-file="$folder/munge/munged.pid" \
  --log-file="$folder/munge/munged.log" --seed-file="$folder/munge/munged.seed"
slurmctld
sleep 1
slurmd
for _ in $(seq 100); do
  [ "$(sinfo --noheader --format=%T 2> /dev/null)" = idle ] && break
  sleep 0.2
done
sinfo --format='%P %D %T %c %m %G' >&2

"$@" &  # a trap waits for a command in the foreground
command=$!
wait "$command"
