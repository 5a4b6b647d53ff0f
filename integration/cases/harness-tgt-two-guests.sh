# The harness itself: two guests at one target, each waiting for the other.
#: server: tgt
#: limit: 240
. /run/share/guest/lib.sh
iscsi_up
login 1
load TGT001L8
echo from the first guest | dd of="$TAPE0" bs=64k conv=sync status=none
tape rewind
host signal written
host await read
changer unload 1 0
