# Every verb of mtx, with the text that scripts of users parse.
#: limit: 360
. /run/share/guest/lib.sh
iscsi_up
login

# line TEXT: the changer's status holds exactly this line (blanks at its ends aside).
line() { changer status | sed 's/^ *//; s/ *$//' | grep -qxF -- "$1" || fail "no line '$1' in: $(changer status)"; }

step status
status=$(changer status)
echo "$status"
is "first line" "  Storage Changer $CHANGER:2 Drives, 28 Slots ( 4 Import/Export )" "$(head -1 <<<"$status")"
is "lines" 31 "$(wc -l <<<"$status")"
line "Data Transfer Element 0:Empty"
line "Data Transfer Element 1:Empty"
for n in 1 2 3 4 5 6 7 8 9; do line "Storage Element $n:Full :VolumeTag=VTL00${n}L8"; done
line "Storage Element 10:Full :VolumeTag=VTL010L8"
for n in 11 24; do line "Storage Element $n:Empty:VolumeTag="; done
for n in 25 28; do line "Storage Element $n IMPORT/EXPORT:Empty:VolumeTag="; done

step inquiry
is inquiry "Product Type: Medium Changer
Vendor ID: 'IBM     '
Product ID: '03584L32        '" "$(changer inquiry | sed -n 1,3p)"

step inventory
changer inventory

step "nobarcode status"
[[ "$(changer nobarcode status)" != *VTL001L8* ]] || fail "barcodes although none were asked for"

step "load, into either drive"
is load "Loading media from Storage Element 1 into drive 0...done" "$(changer load 1 0)"
is load "Loading media from Storage Element 2 into drive 1...done" "$(changer load 2 1)"
line "Data Transfer Element 0:Full (Storage Element 1 Loaded):VolumeTag = VTL001L8"
line "Data Transfer Element 1:Full (Storage Element 2 Loaded):VolumeTag = VTL002L8"
line "Storage Element 1:Empty:VolumeTag="
until_true 30 has_medium "$TAPE0"
until_true 30 has_medium "$TAPE1"

step "load into a full drive, and from an empty slot"
expect_fail changer load 3 0
is refusal "Drive 0 Full (Storage Element 1 loaded)" "$REFUSAL"
is unload "Unloading drive 1 into Storage Element 2...done" "$(changer unload 2 1)"
expect_fail changer load 11 1
matches refusal "$REFUSAL" 'Source Element Address [0-9]+ is Empty$'

step "unload without a slot goes home; a full slot and an empty drive are refused"
expect_fail changer unload 3 0
is refusal "Storage Element 3 is Already Full" "$REFUSAL"
is unload "Unloading drive 0 into Storage Element 1...done" "$(changer unload)"
expect_fail changer unload 1 0
is refusal "Data Transfer Element 0 is Empty" "$REFUSAL"

step transfer
changer transfer 3 20
line "Storage Element 3:Empty:VolumeTag="
line "Storage Element 20:Full :VolumeTag=VTL003L8"
expect_fail changer transfer 4 20
matches refusal "$REFUSAL" '^Destination Element Address [0-9]+ is Already Full$'
expect_fail changer transfer 3 21
matches refusal "$REFUSAL" 'Source Element Address [0-9]+ is Empty$'
changer transfer 20 3

step "transfer to a mailslot and back"
changer transfer 5 25
line "Storage Element 25 IMPORT/EXPORT:Full :VolumeTag=VTL005L8"
changer transfer 25 5
line "Storage Element 5:Full :VolumeTag=VTL005L8"

step "exchange: two slots swap"
changer exchange 6 7
line "Storage Element 6:Full :VolumeTag=VTL007L8"
line "Storage Element 7:Full :VolumeTag=VTL006L8"
changer exchange 6 7

step "exchange with a second destination"
changer exchange 6 7 12
line "Storage Element 6:Empty:VolumeTag="
line "Storage Element 7:Full :VolumeTag=VTL006L8"
line "Storage Element 12:Full :VolumeTag=VTL007L8"
changer transfer 7 6
changer transfer 12 7

step "position, first, next, previous, last"
changer position 3
changer first 0
line "Data Transfer Element 0:Full (Storage Element 1 Loaded):VolumeTag = VTL001L8"
changer next 0
line "Data Transfer Element 0:Full (Storage Element 2 Loaded):VolumeTag = VTL002L8"
changer previous 0
line "Data Transfer Element 0:Full (Storage Element 1 Loaded):VolumeTag = VTL001L8"
changer transfer 10 24
changer last 0
line "Data Transfer Element 0:Full (Storage Element 24 Loaded):VolumeTag = VTL010L8"
changer unload 24 0
changer transfer 24 10

step "several verbs on one line"
is "load and unload" "Loading media from Storage Element 4 into drive 1...done
Unloading drive 1 into Storage Element 4...done" "$(changer load 4 1 unload 4 1)"

step "eject is LOAD UNLOAD, which no changer of this kind has: refused, and nothing moves"
before=$(changer status)
# mtx ends with 0 all the same.
contains refusal "$(changer eject 2>&1 || true)" "Eject (0x1B) failed"
is "status after eject" "$before" "$(changer status)"

step loaderinfo
info=$(loaderinfo -f "$CHANGER")
echo "$info"
matches loaderinfo "$info" "^Product Type: Medium Changer"
matches loaderinfo "$info" "^Vendor ID: 'IBM     '"
matches loaderinfo "$info" "^Number of Medium Transport Elements: 1$"
matches loaderinfo "$info" "^Number of Storage Elements: 24$"
matches loaderinfo "$info" "^Number of Import/Export Elements: 4$"
matches loaderinfo "$info" "^Number of Data Transfer Elements: 2$"

step tapeinfo
load VTL001L8
info=$(tapeinfo -f "$TAPE0_SG")
echo "$info"
matches tapeinfo "$info" "^Product Type: Tape Drive"
matches tapeinfo "$info" "^Vendor ID: 'IBM     '"
matches tapeinfo "$info" "^Product ID: 'ULT3580-TD8     '"
matches tapeinfo "$info" "^SerialNumber: '[!-~]+'"
matches tapeinfo "$info" "^MinBlock: *1$"
matches tapeinfo "$info" "^MaxBlock: *8388608$"
matches tapeinfo "$info" "^Ready: yes$"
matches tapeinfo "$info" "^Density Code: 0x5e"
matches tapeinfo "$info" "^BlockSize: 0$"
matches tapeinfo "$info" "^DataCompEnabled: (yes|no)$"
matches tapeinfo "$info" "^BOP: yes"
matches tapeinfo "$info" "^Block Position: 0"
changer unload 1 0

step "what mtx did, the client sees"
contains "cartridge show" "$(host vtl cartridge show VTL001L8)" '"slot"'
