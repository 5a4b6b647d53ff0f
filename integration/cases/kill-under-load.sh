# kill -9 under load, again and again: every byte up to the last acknowledged filemark is there.
#: limit: 800
#: long-limit: 3600
. /run/share/guest/lib.sh
if [ "$LONG" = 1 ]; then rounds=50; else rounds=5; fi
iscsi_up
discover
node_set node.session.timeo.replacement_timeout 60
login
load VTL001L8
tape setblk 0
acked=0

# A file is 64 blocks of 64 KiB that no other file has; when dd ends well, its filemark is written and acknowledged.
write_file() { pattern 4194304 "round $1 file $2" | dd of="$TAPE0" bs=64k iflag=fullblock status=none; }

# writer ROUND FIRST: writes files until one fails; each acknowledged one is a line in /run/acked.
writer() {
    local n=$2
    # When the kill falls between two files, the next open hears of it and goes on: the host says when to end.
    while [ ! -e /run/enough ] && write_file "$1" "$n" 2>/run/writer.err; do
        echo "$1 $n" >>/run/acked
        n=$((n + 1))
    done
}

verify() {
    local n=0 round file
    tape rewind
    while read -r round file; do
        cmp <(pattern 4194304 "round $round file $file") <(dd if="$TAPE0" bs=64k status=none) ||
            fail "file $n (round $round, file $file) is not what was acknowledged"
        n=$((n + 1))
        at $n 0
    done </run/acked
    is "files checked" "$acked" "$n"
}

: >/run/acked
for round in $(seq 1 $rounds); do
    if [ "$acked" -gt 60 ]; then
        step "round $round begins a new tape"
        : >/run/acked
        acked=0
        tape rewind
    fi
    writer "$round" 0 &
    writing=$!
    sleep "$((RANDOM % 3)).$((RANDOM % 900 + 100))"
    host server kill
    host server start
    touch /run/enough
    wait $writing || true
    rm /run/enough
    before=$acked
    acked=$(wc -l </run/acked)
    until_true 90 sessions_up
    until_true 60 has_medium
    # The first command after the loss tells of it; from here on the position is the beginning.
    until_true 30 tape rewind
    step "round $round: $((acked - before)) more files acknowledged, $acked in all; writer said: $(tr '\n' ' ' </run/writer.err)"
    verify
    # verify leaves the tape behind the last acknowledged file: what follows is cut off by the next write.
done
[ "$acked" -gt 0 ] || fail "nothing was ever acknowledged"
