# Both drives at once, each its own stream; a cartridge written in one is read in the other.
#: limit: 360
. /run/share/guest/lib.sh
iscsi_up
login
load VTL001L8 0
load VTL002L8 1
pattern 60000000 "drive 0" | dd of="$TAPE0" bs=256k iflag=fullblock status=none &
first=$!
pattern 60000000 "drive 1" | dd of="$TAPE1" bs=256k iflag=fullblock status=none
wait $first
changer unload 1 0
changer unload 2 1
load VTL001L8 1
load VTL002L8 0
cmp <(pattern 60000000 "drive 0") <(dd if="$TAPE1" bs=256k status=none) &
first=$!
cmp <(pattern 60000000 "drive 1") <(dd if="$TAPE0" bs=256k status=none)
wait $first
