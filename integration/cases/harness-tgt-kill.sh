# The harness itself: a target killed and started again while the guest stays; the kernel logs in again.
#: server: tgt
#: limit: 240
. /run/share/guest/lib.sh
iscsi_up
login 1
load TGT002L8
host server kill
expect_fail bash -c "exec 3<>/dev/tcp/$PORTAL/3260"
contains "a dead server" "$REFUSAL" "refused"
host server start
until_true 60 sessions_up
expect_fail host vtl drive ls
is "words of a refused request" "tgt has no vtl" "$REFUSAL"
# tgt forgets where its cartridges were, and promises nothing about data written before the kill.
until_true 30 changer status
load TGT002L8
pattern 20000000 one >/tmp/data
tape rewind
dd if=/tmp/data of="$TAPE0" bs=64k status=none
tape rewind
dd if="$TAPE0" of=/tmp/back bs=64k status=none
cmp /tmp/data /tmp/back
