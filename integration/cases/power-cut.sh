# The server's power is cut, on a real ext4 disk: what was closed is there when it is on again.
#: server: vtld-in-guest
#: limit: 800
#: long-limit: 5400
. /run/share/guest/lib.sh
iscsi_up
discover
node_set node.session.timeo.replacement_timeout 90
login
load VTL001L8
tape setblk 0
if [ "$LONG" = 1 ]; then rounds=50; else rounds=3; fi
# Files on the tape; each tape takes ten.
files=0
for round in $(seq 1 $rounds); do
    if [ "$files" -eq 10 ]; then
        tape rewind
        files=0
    fi
    first=$((round - files))
    files=$((files + 1))
    pattern 20000000 "round $round" | dd of="$TAPE0" bs=64k iflag=fullblock status=none
    step "round $round: closed; some more that is not, then the cut"
    (pattern 200000000 "never closed" | dd of="$TAPE0" bs=64k iflag=fullblock status=none || true) &
    sleep 0.5
    host server kill
    host server start
    wait
    until_true 120 sessions_up
    until_true 60 has_medium
    until_true 30 tape rewind
    for n in $(seq $first $round); do
        cmp <(pattern 20000000 "round $n") <(dd if="$TAPE0" bs=64k status=none)
    done
    at $files 0
done
is "inventory" 9 "$(changer status | grep -c 'Storage Element.*Full *:VolumeTag=VTL')"
