. /run/share/guest/lib.sh
iscsi_up
login
conflict() {
    cdb "$TAPE0_SG" "${@:1}"
    is "status" "Reservation Conflict" "$STATUS"
}
host await reserved
# The other host has loaded a cartridge: hear of it first, so that what follows is about reservations only.
for _ in 1 2 3 4; do sg_requests "$TAPE0_SG" >/dev/null; done
step "what is not ours"
conflict 0 01 00 00 00 00 00
conflict 65536 08 00 01 00 00 00
expect_fail mt -f "$TAPE0" rewind
step "what everybody may: INQUIRY, REPORT LUNS, READ KEYS, the other drive"
sg_inq "$TAPE0_SG" >/dev/null
sg_luns "$TAPE0_SG" >/dev/null
matches keys "$(sg_persist -i -k "$TAPE0_SG")" '^ *0x1111$'
until_true 10 sg_turs "$CHANGER"
host signal conflict-seen
host await released
until_true 20 has_medium
mt -f "$TAPE0" rewind
contains "the other's data" "$(dd if="$TAPE0" bs=64k count=1 status=none | tr -d '\0')" "still mine"
sg_persist -o -G -S 0x2222 "$TAPE0_SG"
host signal other-registered
host await held-again
step preempt
sg_persist -o -P -T 3 -K 0x2222 -S 0x1111 "$TAPE0_SG"
matches "holder" "$(sg_persist -i -r "$TAPE0_SG")" 'Key=0x2222'
host signal preempted
host await checked
sg_persist -o -C -K 0x2222 "$TAPE0_SG"
matches keys "$(sg_persist -i -k "$TAPE0_SG")" 'NO registered reservation keys'
host signal cleared
host await reserved6
conflict 0 01 00 00 00 00 00
conflict 12 1a 00 00 00 0c 00
host signal conflict6-seen
host await released6
until_true 10 sg_turs "$TAPE0_SG"
host signal done6
host await gone
until_true 20 sg_turs "$TAPE0_SG"
