#!/bin/bash
# Runs Envoy; when it is told to stop, lets it go without losing a request.
#
#   entry.sh COMMAND…      such as: entry.sh envoy --config-path /etc/envoy/waggle.yaml
#
# On SIGTERM (`docker stop`, a rolling update):
#
#   1. Envoy's health check fails, and each response is the last on its connection (`connection: close`,
#      GOAWAY). New connections are still taken, until the balancers in front have noticed:
#      WAGGLE_DRAIN_NOTICE seconds (10).
#   2. The listeners close. What is open may end: WAGGLE_DRAIN_WAIT seconds (30) at most.
#   3. Envoy is told to stop. Its exit status is this one's.
#
# A second SIGTERM leads to 3 at once. Whoever stops this must wait for the sum before SIGKILL:
# `stop_grace_period` in a stack file.
#
# Envoy's image holds all that is needed, bash and sleep; its distroless one does not. There is no curl:
# bash speaks to the admin interface itself, at the address that Envoy tells.
set -u

notice=${WAGGLE_DRAIN_NOTICE:-10}
most=${WAGGLE_DRAIN_WAIT:-30}

say() {
    printf 'entry.sh: %s\n' "$*" >&2
}

if [[ $# = 0 || ! $notice =~ ^[0-9]{1,5}$ || ! $most =~ ^[0-9]{1,5}$ ]]; then
    say "usage: entry.sh COMMAND…; WAGGLE_DRAIN_NOTICE ($notice) and WAGGLE_DRAIN_WAIT ($most) are whole seconds"
    exit 64
fi

# A request to the admin interface; prints the answer as it comes.
ask() {
    local address host line
    address=$(<"$told_at") && [[ $address = *:* ]] || return 1
    host=${address%:*} host=${host#[} host=${host%]}
    {
        printf '%s %s HTTP/1.1\r\nhost: admin\r\nconnection: close\r\ncontent-length: 0\r\n\r\n' "$1" "$2" >&3
        while IFS= read -r -t 5 -u 3 line; do printf '%s\n' "$line"; done
    } 3<>"/dev/tcp/$host/${address##*:}"
} 2>/dev/null

# A command to the admin interface.
tell() {
    [[ $(ask POST "$1") = "HTTP/1.1 200 "* ]] || { say "Envoy's admin interface does not take $1"; return 1; }
}

# Whether a client's connection is open: HTTP, TLS that passes through, WebSocket. A page that cannot be
# read proves nothing.
is_busy() {
    local page name open
    page=$(ask GET '/stats?filter=downstream_cx_active') || return 0
    while IFS=': ' read -r name open; do
        case $name in
        listener.admin.* | listener.health.* | *.worker_*) ;;
        listener.*) [[ ${open%$'\r'} = 0 ]] || return 0 ;;
        esac
    done <<<"$page"
    return 1
}

drain() {
    if [[ $(ask GET /ready) != *INITIALIZING* ]] && tell /healthcheck/fail; then
        say "told to stop: the health check fails, and in $notice s the listeners close"
        sleep "$notice"
        tell /drain_listeners
        local end=$((SECONDS + most))
        while is_busy; do
            ((SECONDS < end)) || { say "connections are still open after $most s: they are cut"; break; }
            sleep 0.2
        done
    fi
    kill -TERM "$envoy"
}

on_term() {
    if [[ $drainer ]]; then
        kill -TERM "$envoy"
    else
        drain &
        drainer=$!
    fi
}

# The one place that can be written where the root is read-only; Docker gives it to each container.
told_at=/dev/shm/envoy-admin.$$
drainer=
"$@" --admin-address-path "$told_at" &
envoy=$!
trap on_term TERM
for signal in INT QUIT HUP USR1; do trap "kill -$signal $envoy" "$signal"; done

# A signal ends a wait, not Envoy.
while wait "$envoy"; status=$?; kill -0 "$envoy" 2>/dev/null; do :; done
wait "$envoy" && status=0 || status=$?
[[ $drainer ]] && kill "$drainer" 2>/dev/null
rm -f "$told_at"
exit "$status"
