# Header and data digests: negotiated, and data goes both ways under them.
. /run/share/guest/lib.sh
iscsi_up
discover
node_set 'node.conn[0].iscsi.HeaderDigest' CRC32C
node_set 'node.conn[0].iscsi.DataDigest' CRC32C
login
session=$(iscsiadm -m session -P 2)
matches "header digest in use" "$session" '^\s*HeaderDigest: CRC32C'
matches "data digest in use" "$session" '^\s*DataDigest: CRC32C'
load VTL001L8
pattern 30000001 digests >/tmp/data
dd if=/tmp/data of="$TAPE0" bs=256k status=none
tape rewind
dd if="$TAPE0" of=/tmp/back bs=256k status=none
cmp /tmp/data /tmp/back
is "digest errors" "" "$(dmesg | grep -i 'digest err' || true)"
