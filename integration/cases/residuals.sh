# The residual matrix: 32 KiB asked of a 64 KiB and a 16 KiB block, SILI 0 and 1, fixed 0 and 1; and the ends.
# Expected bytes are typed from SSC-4 (READ(6), INFORMATION field) and SPC-4 (fixed format sense data).
#: limit: 300
. /run/share/guest/lib.sh
iscsi_up
login
load VTL001L8
tape setblk 0
# Tape: 64 KiB block, 16 KiB block, 32 KiB block, 64 KiB block, filemark, nothing.
block_of 65536 64 sizes >/tmp/64
block_of 16384 16 sizes >/tmp/16
block_of 32768 32 sizes >/tmp/32
for file in 64 16 32 64; do
    cdb_bytes=$(printf '0a 00 %02x %02x %02x 00' $(($(stat -c %s /tmp/$file) >> 16)) $(($(stat -c %s /tmp/$file) >> 8 & 255)) 0)
    # shellcheck disable=SC2086
    CDB_OUT=/tmp/$file cdb "$TAPE0_SG" "$(stat -c %s /tmp/$file)" $cdb_bytes
    good
done
cdb "$TAPE0_SG" 0 10 00 00 00 01 00
good
to() { cdb "$TAPE0_SG" 0 2b 00 00 00 00 00 "$1" 00 00 00; good; }
same() { cmp "$1" <(head -c "$2" "$3") || fail "$1 is not the first $2 bytes of $3"; }
address_is() { # what READ POSITION says
    cdb "$TAPE0_SG" 20 34 00 00 00 00 00 00 00 00 00
    good
    is "block address" "$1" $((0x$(od -An -tx1 -j4 -N4 /tmp/cdb.in | tr -d ' ')))
}

step "variable, SILI 0, block longer than asked: ILI, INFORMATION -32768, all 32 KiB come"
to 00
cdb "$TAPE0_SG" 32768 08 00 00 80 00 00
sense_begins "f0 00 20 ff ff 80 00"
sense_is 00 00 00
is "bytes" 32768 "$RECEIVED"
same /tmp/cdb.in 32768 /tmp/64
address_is 1

step "variable, SILI 1, block longer than asked, block length 0 in the mode data: GOOD"
to 00
cdb "$TAPE0_SG" 32768 08 02 00 80 00 00
good
is "bytes" 32768 "$RECEIVED"
same /tmp/cdb.in 32768 /tmp/64
address_is 1

step "variable, SILI 0, block shorter than asked: ILI, INFORMATION 16384, residual 16384"
to 01
cdb "$TAPE0_SG" 32768 08 00 00 80 00 00
sense_begins "f0 00 20 00 00 40 00"
sense_is 00 00 00
is "bytes" 16384 "$RECEIVED"
cmp /tmp/cdb.in /tmp/16
address_is 2

step "variable, SILI 1, block shorter than asked: GOOD, residual 16384"
to 01
cdb "$TAPE0_SG" 32768 08 02 00 80 00 00
good
is "bytes" 16384 "$RECEIVED"
cmp /tmp/cdb.in /tmp/16
address_is 2

step "variable, as long as asked: GOOD both ways"
for flags in 00 02; do
    to 02
    cdb "$TAPE0_SG" 32768 08 $flags 00 80 00 00
    good
    cmp /tmp/cdb.in /tmp/32
done

step "length 0: nothing moves"
to 02
cdb "$TAPE0_SG" 0 08 00 00 00 00 00
good
address_is 2

step "filemark: FILEMARK 00/01, INFORMATION is what was asked, nothing comes, position behind it"
for flags in 00 02; do
    to 04
    cdb "$TAPE0_SG" 32768 08 $flags 00 80 00 00
    sense_begins "f0 00 80 00 00 80 00"
    sense_is 00 00 01
    is "bytes" 0 "$RECEIVED"
    address_is 5
done

step "end of data: BLANK CHECK 00/05, INFORMATION is what was asked"
to 05
cdb "$TAPE0_SG" 32768 08 00 00 80 00 00
sense_is 08 00 05
is "INFORMATION and VALID" "f0 00 00 80 00" "$(cut -d' ' -f1,4-7 <<<"$SENSE")"
is "bytes" 0 "$RECEIVED"
address_is 5

step "fixed and SILI together: ILLEGAL REQUEST 24/00"
to 02
cdb "$TAPE0_SG" 32768 08 03 00 00 01 00
sense_is 05 24 00
address_is 2

step "fixed while the block length is 0: ILLEGAL REQUEST 24/00"
cdb "$TAPE0_SG" 32768 08 01 00 00 01 00
sense_is 05 24 00
address_is 2

step "fixed 32 KiB: one block of the right size"
tape setblk 32768
to 02
cdb "$TAPE0_SG" 32768 08 01 00 00 01 00
good
cmp /tmp/cdb.in /tmp/32
address_is 3

step "fixed, four asked, the second is longer: ILI, INFORMATION 3, the good block comes"
to 02
cdb "$TAPE0_SG" 131072 08 01 00 00 04 00
sense_begins "f0 00 20 00 00 00 03"
sense_is 00 00 00
[ "$RECEIVED" -ge 32768 ] || fail "only $RECEIVED bytes came"
same <(head -c 32768 /tmp/cdb.in) 32768 /tmp/32
address_is 4

step "fixed, one asked, the block is longer or shorter: ILI, INFORMATION 1"
for address in 00 01; do
    to $address
    cdb "$TAPE0_SG" 32768 08 01 00 00 01 00
    sense_begins "f0 00 20 00 00 00 01"
    sense_is 00 00 00
done

step "fixed, a filemark: INFORMATION is the number of blocks left"
to 04
cdb "$TAPE0_SG" 131072 08 01 00 00 04 00
sense_begins "f0 00 80 00 00 00 04"
sense_is 00 00 01
is "bytes" 0 "$RECEIVED"

step "fixed, the end of data: BLANK CHECK with the blocks left"
to 05
cdb "$TAPE0_SG" 131072 08 01 00 00 04 00
sense_is 08 00 05
is "INFORMATION and VALID" "f0 00 00 00 04" "$(cut -d' ' -f1,4-7 <<<"$SENSE")"
tape setblk 0

step "SPACE: residuals of blocks and filemarks"
to 00
cdb "$TAPE0_SG" 0 11 00 00 00 0a 00
sense_begins "f0 00 80 00 00 00 06"
sense_is 00 00 01
address_is 5
cdb "$TAPE0_SG" 0 11 01 ff ff fd 00
sense_begins "f0 00 40 00 00 00 02"
sense_is 00 00 04
address_is 0

step "what st hands to a program: short reads whole, long blocks refused"
tape rewind
expect_fail dd if="$TAPE0" of=/dev/null bs=32k count=1
contains "long block" "$REFUSAL" "Cannot allocate memory"
tape rewind
tape fsr 1
is "short read" 16384 "$(dd if="$TAPE0" bs=32k count=1 status=none | wc -c)"
