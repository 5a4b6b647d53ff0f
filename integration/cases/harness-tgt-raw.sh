# The harness itself: raw commands through sg, with sense and residual taken apart as sg_raw prints them.
#: server: tgt
#: limit: 120
. /run/share/guest/lib.sh
iscsi_up
login 1
load TGT002L8
cdb "$TAPE0_SG" 0 00 00 00 00 00 00
good
is "no sense with GOOD" "" "$SENSE"
# FORMAT MEDIUM, which tgt does not know.
cdb "$TAPE0_SG" 0 04 00 00 00 00 00
is "sense" "70 00 05 00 00 00 00 0a 00 00 00 00 20 00 00 00 00 00" "$SENSE"
sense_is 05 20 00
expect_fail sense_is 05 24 00
expect_fail good
block_of 65536 1 raw >/tmp/block
CDB_OUT=/tmp/block cdb "$TAPE0_SG" 65536 0a 00 01 00 00 00
good
cdb "$TAPE0_SG" 0 01 00 00 00 00 00
good
cdb "$TAPE0_SG" 65536 08 00 01 00 00 00
good
is "bytes" 65536 "$RECEIVED"
cmp /tmp/block /tmp/cdb.in
cdb "$TAPE0_SG" 0 01 00 00 00 00 00
# 32 KiB of a 64 KiB block.
cdb "$TAPE0_SG" 32768 08 00 00 80 00 00
sense_begins "f0 00 20 ff ff 80 00"
expect_fail sense_begins "f0 00 20 00 00 80 00"
