# A clean stop and a start: loaded cartridges stay loaded, the place of everything is kept, tape data too.
#: limit: 240
. /run/share/guest/lib.sh
iscsi_up
login
load VTL004L8 1
pattern 5000000 stop | dd of="$TAPE1" bs=64k iflag=fullblock status=none
changer transfer 9 27
before=$(changer status)
host server restart
until_true 60 sessions_up
until_true 20 sg_turs "$CHANGER"
is "status of the changer" "$before" "$(changer status)"
until_true 30 mt -f "$TAPE1" rewind
cmp <(pattern 5000000 stop) <(dd if="$TAPE1" bs=64k status=none)
