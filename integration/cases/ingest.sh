# A tape in a drive of a server's machine becomes a cartridge of that server: the same records and filemarks, read from both by dd and mt.
#: limit: 600
. /run/share/guest/lib.sh
iscsi_up
login
HERE=/tmp/here
REST=127.0.0.1:8461

# Another server, in the guest: to it the drives of the first one are devices of its machine.
here() { "$BIN_ON_HOST/vtl" --api "http://$REST" --token-file $HERE/api.token "$@"; }

# records NODE: each record by its length and hash, each filemark as '|', up to end of data; what dd and mt say alone. All bytes are in /tmp/records then.
records() {
    local end at sum length
    : >/tmp/records
    mt -f "$1" eod
    end=$(mt -f "$1" tell | grep -o '[0-9]*')
    mt -f "$1" rewind
    for ((at = 0; at < end; at++)); do
        dd if="$1" of=/tmp/record bs=2M count=1 status=none
        length=$(stat -c %s /tmp/record)
        cat /tmp/record >>/tmp/records
        if [ "$length" = 0 ]; then echo '|'; else echo "$length $(sha256sum </tmp/record)"; fi
    done
    echo "end at $end"
}

# put LENGTH..: records of these lengths, and a filemark, which st writes when the device is closed.
put() {
    local length
    for length; do pattern "$length" "of $length" | dd bs=2M iflag=fullblock status=none; done >"$TAPE0"
}

step "a tape with records of many lengths, an empty file, double filemarks, and a file that was written in fixed blocks"
load VTL001L8
tape setblk 0
tape weof 1
put 1000 1 65536 262144 80 1048576 1500000
tape weof 1
put 4096 4096
tape setblk 512
pattern 10240 fixed | dd of="$TAPE0" bs=10240 iflag=fullblock status=none
tape setblk 0
tape weof 1
records "$TAPE0" >/tmp/source
cat /tmp/source
is "records and filemarks" "29 6" "$(grep -c '^[0-9]' /tmp/source) $(grep -c '^|' /tmp/source)"
contains "the longest" "$(cat /tmp/source)" "1500000 "
tape setblk 512

step "a server in this machine, with a library of its own and no cartridge"
BIN_ON_HOST=$(host sh 'echo "$BIN"')
setsid "$BIN_ON_HOST/vtld" --state $HERE --api $REST --listen 127.0.0.1:3262 --set library.default=none \
    --set cartridge.size=200m --set transfer.retry.pause=1s >/run/here.log 2>&1 &
disown
until_true 60 here system status
here library create here --profile ibm-03584l32 --drives 1 --slots 2 --mailslots 1

step "what is no tape device is refused, nothing else can have the device meanwhile, and the job waits for who has it"
expect_fail here cartridge ingest --from-device /dev/null --label P00001L8
contains refusal "$REFUSAL" "is no SCSI tape device"
expect_fail here cartridge ingest --from-device "${TAPE0/nst/st}" --label P00001L8
contains refusal "$REFUSAL" "rewinds whenever it is closed"
exec 7<"$TAPE0"
here cartridge ingest --from-device "$TAPE0" --label P00001L8 --library here
busy() { here job show 1 | grep -q busy; }
until_true 20 busy
exec 7<&-
here job wait 1

step "it is in a slot, and a drive reads the same records and filemarks from it"
contains "list" "$(here cartridge show P00001L8)" "slot"
here cartridge move P00001L8 --to drive:0
iscsiadm -m discovery -t sendtargets -p 127.0.0.1:3262
iscsiadm -m node -T iqn.2026-11.internal.vtl:here -p 127.0.0.1:3262 -l
find_devices 3 2
until_true 30 has_medium "$TAPE2"
mt -f "$TAPE2" setblk 0
records "$TAPE2" >/tmp/copy
diff /tmp/source /tmp/copy

step "exported, its image has every byte that the drive gives"
mkdir /tmp/exported
here remote create folder --type folder --path /tmp/exported
here cartridge export P00001L8 --remote folder --wait
"$BIN_ON_HOST/vtl-decode" verify /tmp/exported/P00001L8-*
"$BIN_ON_HOST/vtl-decode" decode /tmp/exported/P00001L8-* --out /tmp/image
cmp /tmp/records /tmp/image

step "a tape that was never written gives a cartridge with nothing on it"
changer unload 1 0
load VTL002L8
here cartridge ingest --from-device "$TAPE0" --label P00002L8 --wait
contains "vault" "$(here vault ls)" P00002L8
contains "size" "$(here --json cartridge show P00002L8 | tr -d ' ')" '"used_bytes":0'
iscsiadm -m node -T iqn.2026-11.internal.vtl:here -p 127.0.0.1:3262 -u
changer unload 2 0

step "a record that cannot be read fails the job by file and block, and leaves nothing"
load VTL001L8
tape rewind
changer unload 1 0
host server stop
host sh 'for pack in $(find ../server -name "*.pack" -size +1M); do printf UUUU | dd of="$pack" bs=1 seek=600000 conv=notrunc status=none; done'
host server start
sleep 1
until_true 60 sessions_up
load VTL001L8
tape setblk 0
if here cartridge ingest --from-device "$TAPE0" --label P00003L8 --wait >/tmp/said 2>&1; then fail "it should have failed"; fi
cat /tmp/said
matches "what is said" "$(cat /tmp/said)" "$TAPE0: file 1, block [0-9]+ \(object [0-9]+ of 35\) cannot be read"
contains "list" "$(here cartridge ls)" P00001L8
! here cartridge show P00003L8 || fail "it is there"
