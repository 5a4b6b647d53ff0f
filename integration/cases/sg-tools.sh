# Every page that the units have, decoded by sg3_utils without a complaint.
#: limit: 360
. /run/share/guest/lib.sh
iscsi_up
login
load VTL001L8
# Some traffic, so that counters have something to count.
pattern 2000000 counters | dd of="$TAPE0" bs=64k iflag=fullblock status=none
complaints='too short|malformed|unexpected|truncat|not supported|unsupported|failed|illegal|invalid|unable|bad '
wrong=0
try() { # try UNIT-NAME SG COMMAND WANTED
    local output status=0
    # shellcheck disable=SC2086
    output=$(timeout 60 $3 "$2" 2>&1) || status=$?
    # Names of TapeAlert flags that are not raised are no complaints.
    output=$(grep -Ev '^ +(Unsupported format|Invalid cleaning tape|Tape directory invalid at unload|WORM medium - integrity check failed): 0$' <<<"$output" || true)
    if [ $status -ne 0 ]; then
        echo "WRONG $1: $3: exit status $status"
    elif grep -Eiq "$complaints" <<<"$output"; then
        echo "WRONG $1: $3 complains: $(grep -Ei "$complaints" <<<"$output" | sed -n 1,3p)"
    elif [ -n "$4" ] && ! grep -Eiq -- "$4" <<<"$output"; then
        echo "WRONG $1: $3 does not say /$4/:"
    else
        echo "right $1: $3"
        return 0
    fi
    sed -n 1,40p <<<"$output"
    wrong=$((wrong + 1))
}
tried=0
while IFS='|' read -r unit command wanted; do
    case $unit in '' | '#'*) continue ;; esac
    unit=${unit// /} command=$(echo $command) wanted=$(sed 's/^ *//; s/ *$//' <<<"$wanted")
    tried=$((tried + 1))
    case $unit in both | drive) try drive "$TAPE0_SG" "$command" "$wanted" ;; esac
    case $unit in both | changer) try changer "$CHANGER" "$command" "$wanted" ;; esac
done </run/share/data/sg-tools.txt
[ $tried -ge 40 ] || fail "only $tried lines in the table"
[ $wrong -eq 0 ] || fail "$wrong commands did not go as the table says"

step "the medium's serial number is the same in both places"
serial=$(sg_rmsn --raw "$TAPE0_SG" | tr -d '\0 ')
[ -n "$serial" ] || fail "no medium serial number"
contains "attribute 0401" "$(sg_read_attr -f 0x401 "$TAPE0_SG")" "$serial"
step "the drive's serial number is the same in the changer's list of drives"
serial=$(sg_vpd -p sn --raw "$TAPE0_SG" | tail -c +5 | tr -d ' ')
# READ ELEMENT STATUS of drives with DVCID and CurData.
cdb "$CHANGER" 4096 b8 14 00 00 00 10 03 00 10 00 00 00
good
contains "device identifiers" "$(tr -c '[:print:]' '.' </tmp/cdb.in)" "$serial"
step "labels are volume tags, of the one in the drive and of those in slots"
contains "volume tag" "$(tr -c '[:print:]' '.' </tmp/cdb.in)" "VTL001L8 "
# READ ELEMENT STATUS of slots with VOLTAG.
cdb "$CHANGER" 4096 b8 12 00 00 00 10 00 00 10 00 00 00
good
contains "volume tags" "$(tr -c '[:print:]' '.' </tmp/cdb.in)" "VTL002L8 "
