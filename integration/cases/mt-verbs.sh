# Every verb of mt-st, with file and block numbers checked after each.
#: limit: 360
. /run/share/guest/lib.sh
iscsi_up
login
load VTL001L8

step "status of a fresh cartridge"
status=$(tape status)
echo "$status"
contains status "$status" "SCSI 2 tape drive:"
contains status "$status" "File number=0, block number=0, partition=0."
contains status "$status" "Tape block size 0 bytes. Density code 0x5e (LTO-8)."
contains status "$status" "BOT ONLINE"
contains densities "$(mt densities)" "0x5e   LTO-8"

step "three files: 10 blocks of 64 KiB, 20 of 32 KiB, 5 of 1000 bytes"
write_file() { for n in $(seq 1 "$2"); do block_of "$3" "$n" "file$1"; done | dd of="$TAPE0" bs="$3" iflag=fullblock status=none; }
write_file 0 10 65536
at 1 0
tell_is 11
write_file 1 20 32768
at 2 0
tell_is 32
write_file 2 5 1000
at 3 0
tell_is 38

# go VERB [COUNT]: FILE BLOCK | LBA - what is expected afterwards. A block of -1 is "not known" to Linux st, which
# counts blocks only from a place that it knows; the drive's own number (tell) is always exact.
# verb          count | file block | address
while read -r verb count _ file block _ address; do
    [ -n "$verb" ] || continue
    step "$verb $count"
    if [ "$count" = - ]; then tape "$verb"; else tape "$verb" "$count"; fi
    at "$file" "$block"
    tell_is "$address"
done <<'TABLE'
rewind      -   |  0   0  |  0
fsf         1   |  1   0  | 11
fsf         1   |  2   0  | 32
bsf         1   |  1  -1  | 31
bsf         1   |  0  -1  | 10
fsf         2   |  2   0  | 32
fsr         3   |  2   3  | 35
bsr         2   |  2   1  | 33
asf         1   |  1   0  | 11
fsr        20   |  1  20  | 31
rewind      -   |  0   0  |  0
fsr         4   |  0   4  |  4
asf         2   |  2   0  | 32
bsfm        1   |  2   0  | 32
bsfm        2   |  1   0  | 11
asf         0   |  0   0  |  0
fsfm        1   |  0  -1  | 10
retension   -   |  0   0  |  0
TABLE

step "seek: the address is exact, file and block are not known to st"
for address in 0 5 11 31 37 38 20; do
    tape seek "$address"
    tell_is "$address"
done
is "a block found by seek" "$(block_of 32768 10 file1 | sha256sum)" "$(dd if="$TAPE0" bs=32k count=1 status=none | sha256sum)"
tell_is 21

step "a filemark stops fsr, the beginning stops bsr, the end stops fsf"
tape rewind
expect_fail tape fsr 11
tell_is 11
tape rewind
expect_fail tape bsr 1
tell_is 0
tape asf 1
expect_fail tape bsf 2
tell_is 0
expect_fail tape fsf 4
tell_is 38

step "eod and seod"
tape rewind
tape eod
tell_is 38
is "file at the end" 3 "$(position | cut -d' ' -f1)"
contains "status at the end" "$(tape status)" "EOD"
tape rewind
tape seod
tell_is 38
tape rewind
tape stsetoptions fast-eod
tape eod
tell_is 38
tape stclearoptions fast-eod

step "reading over a filemark: zero bytes once, then the next file"
tape rewind
is "bytes of file 0" 655360 "$(dd if="$TAPE0" bs=64k status=none | wc -c)"
at 1 0
is "bytes of file 1" 655360 "$(dd if="$TAPE0" bs=32k status=none | wc -c)"
at 2 0
is "bytes of file 2" 5000 "$(dd if="$TAPE0" bs=1000 status=none | wc -c)"
at 3 0

step "weof and eof write filemarks"
tape eod
tape weof 2
tell_is 40
tape eof 1
tell_is 41
tape bsf 3
tell_is 38

step "setmarks are no part of LTO"
expect_fail tape wset 1
expect_fail tape fss 1
expect_fail tape bss 1
tape rewind

step "tell with the two ways to ask"
tape asf 1
tell_is 11
tape stsetoptions scsi2logical
tell_is 11
tape seek 14
tell_is 14
tape stclearoptions scsi2logical

step "setblk: fixed blocks"
tape setblk 512
contains status "$(tape status)" "Tape block size 512 bytes."
tape eod
pattern 51200 fixed | dd of="$TAPE0" bs=10240 iflag=fullblock status=none
tape bsf 1
tape bsr 100
tape fsr 1
is "fixed blocks back" "$(pattern 51200 fixed | tail -c +513 | sha256sum)" "$(dd if="$TAPE0" bs=50688 count=1 status=none | sha256sum)"
tape setblk 0
contains status "$(tape status)" "Tape block size 0 bytes."

step "compression shows in the mode page"
tape rewind
tape compression 0
cdb "$TAPE0_SG" 20 1a 08 0f 00 14 00
good
is "DCE" 0 $((0x$(od -An -tx1 -j6 -N1 /tmp/cdb.in | tr -d ' ') & 0x80))
tape compression 1
cdb "$TAPE0_SG" 20 1a 08 0f 00 14 00
good
is "DCE" 128 $((0x$(od -An -tx1 -j6 -N1 /tmp/cdb.in | tr -d ' ') & 0x80))

step "density: its own is taken, another is refused"
tape setdensity 0x5e
contains status "$(tape status)" "Density code 0x5e"
expect_fail tape setdensity 0x13
tape setdensity 0x5e

step "buffering, thresholds, defaults, time-outs and options"
tape drvbuffer 0
tape drvbuffer 1
tape stwrthreshold 64
tape stoptions buffer-writes async-writes read-ahead can-bsr
tape stsetoptions sili
tape stclearoptions sili
tape defblksize 0
tape defdensity 0x5e
tape defdrvbuffer 1
tape defcompression 1
tape stsetcln 0
tape sttimeout 900
tape stlongtimeout 14000
tape stshowoptions
cat >/tmp/stinit.def <<'END'
manufacturer="IBM" model="ULT3580-TD8" {
scsi2logical=1 can-bsr=1 auto-lock=0 two-fms=0 drive-buffering=1 buffer-writes read-ahead=1 async-writes=1 can-partitions=0 fast-mteom=0
timeout=900 long-timeout=14400
mode1 blocksize=0 compression=1 density=0x5e }
END
stinit -f /tmp/stinit.def "$TAPE0"
tape stclearoptions scsi2logical

step "partitions are refused, with sense"
tape stsetoptions can-partitions
expect_fail tape setpartition 1
expect_fail tape partseek 1 0
expect_fail tape mkpartition 1000
tape stclearoptions can-partitions
tape rewind
cdb "$TAPE0_SG" 0 2b 02 00 00 00 00 00 00 01 00
sense_is 05 24 00

step "lock holds the medium against the changer, unlock lets it go"
tape lock
expect_fail changer unload 1 0
contains refusal "$REFUSAL" "Additional Sense Code = 53"
contains refusal "$REFUSAL" "Additional Sense Qualifier = 02"
tape unlock
changer unload 1 0
load VTL001L8

step "offline, load, rewoffl, eject"
for verb in offline rewoffl eject; do
    tape $verb
    ! has_medium || fail "still online after $verb"
    tape load
    until_true 30 has_medium
    # st does not know where LOAD leaves the tape when it sent it itself.
    tape rewind
    at 0 0
done

step "erase leaves nothing"
tape erase
tape rewind
expect_fail tape fsr 1
tape rewind
is "bytes on an erased tape" 0 "$(dd if="$TAPE0" bs=64k status=none 2>/dev/null | wc -c || true)"
