#!/bin/bash
# Stands in for systemd in a guest, under the names systemctl and journalctl, for the few services that pages name: it
# does what their unit files say of environment, ExecStart and user. A start of vtld ends when it is ready.
# Builtins alone as far as it goes: a new process takes long in a guest.
set -euo pipefail
units=/run/units

is_up() { [ -e "$units/$1.pid" ] && kill -0 "$(<"$units/$1.pid")" 2>/dev/null; }

start() {
    local unit=$1 line file user=root group= mask=0022 command=
    is_up "$unit" && return
    while IFS= read -r line; do
        case $line in
        Environment=*) line=${line#*=} && export "${line//\"/}" ;;
        EnvironmentFile=*)
            file=${line#*=} && file=${file#-}
            # shellcheck disable=SC1090
            [ ! -e "$file" ] || { set -a && . "$file" && set +a; }
            ;;
        ExecStart=*) command=${line#*=} ;;
        User=*) user=${line#*=} ;;
        Group=*) group=${line#*=} ;;
        UMask=*) mask=${line#*=} ;;
        esac
    done <"/lib/systemd/system/$unit.service"
    umask "$mask"
    : >>"$units/$unit.log"
    eval "exec setsid setpriv --reuid=$user --regid=${group:-$user} --init-groups $command" >>"$units/$unit.log" 2>&1 </dev/null &
    echo $! >"$units/$unit.pid"
    [ "$unit" != vtld ] || ready
}

ready() {
    local from=0 log n
    # Behind what earlier starts have said.
    [ ! -e $units/vtld.from ] || from=$(<$units/vtld.from)
    for ((n = 0; n < 300; n++)); do
        log=$(<$units/vtld.log)
        log=${log:from}
        [[ "$log" != *$'\nready'* ]] || return 0
        is_up vtld || { printf '%s\n' "$log" "vtld.service failed" >&2; return 1; }
        sleep 0.2
    done
    echo "vtld is not ready" >&2
    return 1
}

stop() {
    local unit=$1 log
    is_up "$unit" || return 0
    kill -TERM "$(<"$units/$unit.pid")"
    while is_up "$unit"; do sleep 0.2; done
    rm -f "$units/$unit.pid"
    log=$(<"$units/$unit.log")
    echo ${#log} >"$units/$unit.from"
}

if [ "${0##*/}" = journalctl ]; then
    [ "$1" = -u ] || { echo "only -u UNIT is known here" >&2; exit 1; }
    exec cat "$units/$2.log"
fi

verb=$1
shift
[ $# -gt 0 ] || set -- all
for unit; do
    unit=${unit%.service}
    case $verb:$unit in
    *:--* | enable:* | daemon-reload:* | reset-failed:*) ;;
    # iscsiadm asks for its daemon by the socket.
    start:iscsid.socket) start iscsid ;;
    start:*) start "$unit" ;;
    stop:*) stop "$unit" ;;
    restart:*) stop "$unit" && start "$unit" ;;
    reload:*) kill -HUP "$(<"$units/$unit.pid")" ;;
    *) echo "systemctl $verb $unit is not known here" >&2; exit 1 ;;
    esac
done
