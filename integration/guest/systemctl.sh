#!/bin/bash
# Stands in for systemd in a guest, under the names systemctl and journalctl, for the few services that pages name: it
# does what their unit files say of environment, ExecStart and user. A start of vtld ends when it is ready.
set -euo pipefail
units=/run/units

of() { sed -n "s/^$2=//p" "/lib/systemd/system/$1.service" | head -1; }
pid() { cat "$units/$1.pid" 2>/dev/null || echo 0; }
is_up() { [ "$(pid "$1")" != 0 ] && kill -0 "$(pid "$1")" 2>/dev/null; }

start() {
    local unit=$1 user group command file
    is_up "$unit" && return
    while read -r file; do
        file=${file#-}
        [ ! -e "$file" ] || { set -a; . "$file"; set +a; }
    done < <(sed -n 's/^EnvironmentFile=//p' "/lib/systemd/system/$unit.service")
    while read -r file; do export "${file//\"/}"; done < <(sed -n 's/^Environment=//p' "/lib/systemd/system/$unit.service")
    command=$(of "$unit" ExecStart)
    user=$(of "$unit" User)
    group=$(of "$unit" Group)
    umask "$(of "$unit" UMask | grep . || echo 0022)"
    # shellcheck disable=SC2086
    eval "exec setsid setpriv --reuid=${user:-root} --regid=${group:-${user:-root}} --init-groups $command" >>"$units/$unit.log" 2>&1 </dev/null &
    echo $! >"$units/$unit.pid"
    [ "$unit" != vtld ] || ready
}

ready() {
    for _ in $(seq 300); do
        # The last start's: everything before it is over.
        ! tail -n "+$(($(cat $units/vtld.from 2>/dev/null || echo 0) + 1))" $units/vtld.log | grep -q '^ready' || return 0
        is_up vtld || { tail -20 $units/vtld.log >&2; echo "vtld.service failed" >&2; return 1; }
        sleep 0.1
    done
    echo "vtld is not ready" >&2
    return 1
}

stop() {
    local unit=$1
    is_up "$unit" || return 0
    kill -TERM "$(pid "$unit")"
    while is_up "$unit"; do sleep 0.1; done
    rm -f "$units/$unit.pid"
    wc -l <"$units/$unit.log" >"$units/$unit.from"
}

if [ "${0##*/}" = journalctl ]; then
    [ "$1" = -u ] || { echo "only -u UNIT is known here" >&2; exit 1; }
    exec cat "$units/$2.log"
fi

verb=$1
shift
for unit; do
    unit=${unit%.service}
    case $verb:$unit in
    *:--* | enable:* | daemon-reload:*) ;;
    # iscsiadm asks for its daemon by the socket.
    start:iscsid.socket) start iscsid ;;
    start:*) start "$unit" ;;
    stop:*) stop "$unit" ;;
    restart:*) stop "$unit"; start "$unit" ;;
    reload:*) kill -HUP "$(pid "$unit")" ;;
    is-active:*) if is_up "$unit"; then echo active; else echo inactive; exit 3; fi ;;
    *) echo "systemctl $verb $unit is not known here" >&2; exit 1 ;;
    esac
done
