# Cartridges, moves, slots and drives change while an initiator is logged in; it is told by unit attention.
#: limit: 360
. /run/share/guest/lib.sh
iscsi_up
login
quiet() { until_true 10 sg_turs "$CHANGER"; }
told() { cdb "$CHANGER" 0 00 00 00 00 00 00; sense_is "$@"; }

step "a new cartridge"
quiet
host vtl cartridge create NEW001L8 --size 200m
told 06 28 01
quiet
is "slot" 11 "$(slot_of NEW001L8)"
expect_fail host vtl cartridge create NEW001L8
expect_fail host vtl cartridge create new
contains "cartridge show" "$(host vtl cartridge show NEW001L8)" "209715200"

step "a move by the client"
host vtl cartridge move NEW001L8 --to slot:20
told 06 28 01
quiet
is "slot" 20 "$(slot_of NEW001L8)"
host vtl cartridge move NEW001L8 --to mailslot:2
quiet
contains "mailslot" "$(changer status)" "Storage Element 26 IMPORT/EXPORT:Full :VolumeTag=NEW001L8"
host vtl cartridge move NEW001L8 --to slot:20
quiet
expect_fail host vtl cartridge move NEW001L8 --to slot:1

step "into a drive and out of it"
host vtl cartridge move NEW001L8 --to drive:0
until_true 20 has_medium
expect_fail host vtl cartridge rm NEW001L8
host vtl cartridge move NEW001L8 --to slot:20
until_true 20 sg_turs "$CHANGER"
expect_fail has_medium

step "removed"
quiet
host vtl cartridge rm NEW001L8
told 06 28 01
quiet
is "slot" "" "$(slot_of NEW001L8)"

step "more slots and a third drive, without a restart"
quiet
host vtl library set lib0 slots=40 drives=3
cdb "$CHANGER" 0 00 00 00 00 00 00
is "status" "Check Condition" "$STATUS"
quiet
iscsiadm -m session --rescan >/dev/null
find_devices 3 1
contains status "$(changer status)" "Storage Changer $CHANGER:3 Drives, 44 Slots ( 4 Import/Export )"
load VTL003L8 2
echo third drive | dd of="$TAPE2" bs=64k conv=sync status=none
changer unload 3 2
