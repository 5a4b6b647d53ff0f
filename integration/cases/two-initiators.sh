# Two initiators: a reservation of one is a conflict for the other, and unit attentions go to each.
#: limit: 360
. /run/share/guest/lib.sh
iscsi_up
login
load VTL001L8
step "persistent, exclusive access"
sg_persist -o -G -S 0x1111 "$TAPE0_SG"
sg_persist -o -R -T 3 -K 0x1111 "$TAPE0_SG"
matches "holder" "$(sg_persist -i -r "$TAPE0_SG")" 'Key=0x1111'
host signal reserved
host await conflict-seen
echo still mine | dd of="$TAPE0" bs=64k conv=sync status=none
sg_persist -o -L -T 3 -K 0x1111 "$TAPE0_SG"
host signal released
host await other-registered
step "the other preempts: our registration is gone and we are told once"
sg_persist -o -R -T 3 -K 0x1111 "$TAPE0_SG"
host signal held-again
host await preempted
cdb "$TAPE0_SG" 0 00 00 00 00 00 00
sense_is 06 2a 05
expect_fail sg_persist -o -R -T 3 -K 0x1111 "$TAPE0_SG"
host signal checked
host await cleared
step "RESERVE(6)"
until_true 10 sg_turs "$TAPE0_SG"
cdb "$TAPE0_SG" 0 16 00 00 00 00 00
good
host signal reserved6
host await conflict6-seen
cdb "$TAPE0_SG" 0 17 00 00 00 00 00
good
host signal released6
step "a session that ends gives its RESERVE(6) back"
host await done6
cdb "$TAPE0_SG" 0 16 00 00 00 00 00
good
logout
host signal gone
