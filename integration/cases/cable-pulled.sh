# The cable is pulled for a while: the initiator comes back, the server ends the old session, nothing acknowledged is lost.
#: limit: 480
. /run/share/guest/lib.sh
iscsi_up
discover
node_set 'node.conn[0].timeo.noop_out_interval' 2
node_set 'node.conn[0].timeo.noop_out_timeout' 2
node_set node.session.timeo.replacement_timeout 60
login
load VTL001L8
tape setblk 0
: >/run/acked
(
    n=0
    while pattern 4194304 "file $n" | dd of="$TAPE0" bs=64k iflag=fullblock status=none 2>/run/writer.err; do
        echo $n >>/run/acked
        n=$((n + 1))
        # A recovered session lets the loop go on; the tape is big, the test is not.
        [ $n -lt 40 ] || break
    done
) &
sleep 3
host net down
sleep 12
host net up
wait || true
step "acknowledged: $(wc -l </run/acked) files; writer said: $(cat /run/writer.err)"
until_true 60 sessions_up
until_true 60 tape rewind
[ -s /run/acked ] || fail "nothing was acknowledged"
while read -r n; do
    cmp <(pattern 4194304 "file $n") <(dd if="$TAPE0" bs=64k status=none) || fail "file $n"
    at $((n + 1)) 0
done </run/acked
is "sessions at the server" 1 "$(host vtl iscsi session ls | grep -o "$INITIATOR" | sort -u | wc -l)"
