#!/usr/bin/env bash
# A real SLURM of one machine, for tests: loopback only, without systemd, cgroups, accounting and GPUs; as root.
#   slurm.sh install          Debian's packages, if they are not there
#   slurm.sh up FOLDER        start it; then: export SLURM_CONF=FOLDER/slurm.conf PATH=FOLDER/bin:$PATH
#   slurm.sh down FOLDER
set -euo pipefail
unset OMP_NUM_THREADS   # nproc would obey it

install() {
  command -v slurmctld slurmd srun munged >/dev/null && return
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends slurmctld slurmd slurm-client munge >/dev/null
}

up() {
  local folder=$1 host port memory
  host=$(hostname -s)
  port=$((20000 + RANDOM % 10000))
  memory=$(awk '/MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)
  mkdir -p "$folder"/{state,spool,log,bin} /run/munge
  chown munge: /run/munge
  # cred_expire is also how long a requeued job waits; the nightly partition takes the place of jobs in debug.
  cat > "$folder/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=cred_expire=5
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
MpiDefault=none
ReturnToService=2
KillWait=20
MinJobAge=3600
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + 1)) CPUs=$(nproc) RealMemory=$memory State=UNKNOWN
PartitionName=debug Nodes=n1 Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=60
PartitionName=urgent Nodes=n1 MaxTime=INFINITE State=UP PriorityTier=9 PreemptMode=OFF
CONF
  # submitit asks sacct, which needs accounting, how its jobs are: slurmctld knows of those of the last MinJobAge.
  cat > "$folder/bin/sacct" <<'SACCT'
#!/usr/bin/env bash
echo "JobID|State|NodeList"
while [ $# -gt 0 ]; do
  if [ "$1" = -j ]; then
    scontrol show job -o "$2" 2>/dev/null | awk '{
      id = array = task = state = ""
      for (i = 1; i <= NF; i++) {
        split($i, pair, "=")
        if (pair[1] == "JobId") id = pair[2]
        if (pair[1] == "ArrayJobId") array = pair[2]
        if (pair[1] == "ArrayTaskId") task = pair[2]
        if (pair[1] == "JobState") state = pair[2]
      }
      print (array == "" ? id : array "_" task) "|" state "|n1"
    }'
    shift
  fi
  shift
done
SACCT
  chmod +x "$folder/bin/sacct"
  export SLURM_CONF=$folder/slurm.conf
  munge -n >/dev/null 2>&1 || { runuser -u munge -- munged; touch "$folder/munged.ours"; }
  slurmctld
  slurmd
  for _ in $(seq 40); do
    timeout 3 sinfo -h -o %T 2>/dev/null | grep -q idle && return
    sleep 0.2
  done
  tail -n 20 "$folder"/log/*.log >&2
  return 1
}

down() {
  local folder=$1
  export SLURM_CONF=$folder/slurm.conf
  timeout 10 scancel --user=root 2>/dev/null || true
  for _ in $(seq 50); do   # the daemons of jobs would outlive a controller that they cannot tell of their end
    [ -z "$(timeout 3 squeue -h 2>/dev/null)" ] && break
    sleep 0.5
  done
  local pids=("$folder/slurmd.pid" "$folder/slurmctld.pid")
  [ -e "$folder/munged.ours" ] && pids+=(/run/munge/munged.pid)
  for file in "${pids[@]}"; do
    [ -s "$file" ] && kill "$(cat "$file")" 2>/dev/null || true
  done
}

"$@"
