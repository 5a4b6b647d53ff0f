# A write-protected cartridge reads, says so, and refuses every command that would change it.
. /run/share/guest/lib.sh
iscsi_up
login
load VTL001L8
block_of 65536 1 kept | dd of="$TAPE0" bs=64k iflag=fullblock status=none
changer unload
host vtl cartridge set VTL001L8 write-protect=on
load VTL001L8
contains status "$(tape status)" "WR_PROT"
is "data" "$(block_of 65536 1 kept | sha256sum)" "$(dd if="$TAPE0" bs=64k count=1 status=none | sha256sum)"
tape rewind
expect_fail tape weof 1
expect_fail tape erase
expect_fail dd if=/dev/zero of="$TAPE0" bs=64k count=1
head -c 512 /dev/zero >/tmp/block
CDB_OUT=/tmp/block cdb "$TAPE0_SG" 512 0a 00 00 02 00 00
sense_is 07 27 00
cdb "$TAPE0_SG" 0 10 00 00 00 01 00
sense_is 07 27 00
cdb "$TAPE0_SG" 0 19 01 00 00 00 00
sense_is 07 27 00
changer unload
host vtl cartridge set VTL001L8 write-protect=off
load VTL001L8
tape rewind
is "data, still" "$(block_of 65536 1 kept | sha256sum)" "$(dd if="$TAPE0" bs=64k count=1 status=none | sha256sum)"
tape weof 1
