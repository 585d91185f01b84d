#!/bin/sh
# Runs a Docker engine in a process namespace of its own, until standard input ends: it does so
# however the test ends. Then ends all that runs in the namespace and removes its cgroups.
#
#   engine.sh CGROUP NODE FOLDER dockerd ARGUMENT…     prints the process that holds the engine
#
# CGROUP is waggle-N, where N is the thread that the test runs on, or a folder of it. NODE is the
# engine's host name, FOLDER what it sees as /run. Where that is /run itself, it is at home in the
# network of the test; else it has a network of its own, with no more than lo in it.
cgroup=$1 node=$2 folder=$3
shift 3

sweep() {
    find /sys/fs/cgroup -depth -type d \( -path "*/$1" -o -path "*/$1/*" \) -exec rmdir {} +
}

# Where this script itself was killed, its cgroups are still there.
find /sys/fs/cgroup -maxdepth 2 -type d -name 'waggle-*' -printf '%f\n' | sort -u |
    while read -r old; do [ -e "/proc/${old#waggle-}" ] || sweep "$old"; done

own=
[ "$folder" = /run ] || own=--net
begin='
echo "$1" >/proc/sys/kernel/hostname
[ "$2" = /run ] || { ip link set lo up && mount --bind "$2" /run; } || exit
shift 2
exec "$@"'

exec 3<&0
setpriv --pdeathsig KILL unshare $own --uts --pid --fork --kill-child --mount-proc \
    sh -c "$begin" sh "$node" "$folder" "$@" </dev/null >&2 3<&- &
engine=$!
# The namespace ends with its first process, which `unshare` then reaps.
{ read -r _ <&3; kill -KILL $(cat /proc/$engine/task/$engine/children) || kill -KILL $engine; } >&2 &
watch=$!
echo $engine
exec >&2
wait $engine
kill $watch

# The last processes of the namespace leave their cgroups a moment after its first one.
tries=0
until sweep "$cgroup" 2>/dev/null || [ $tries = 200 ]; do
    tries=$((tries + 1))
    sleep 0.05
done
