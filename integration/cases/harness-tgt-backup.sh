# The harness itself, against a target that is not ours: login, load, tar to tape, restore, compare.
#: server: tgt
#: limit: 180
. /run/share/guest/lib.sh
iscsi_up
contains discovery "$(discover)" "$TARGET"
login 1
lsscsi -g
contains "status of the changer" "$(changer status)" "Storage Changer $CHANGER:1 Drives, 8 Slots ( 0 Import/Export )"
load TGT001L8
changer status
tape status
cd /usr/share
find doc -maxdepth 2 -type f -name c\* | sort | sed -n 1,400p >/tmp/list
xargs -d '\n' sha256sum </tmp/list >/tmp/sums
[ "$(wc -l </tmp/sums)" -gt 50 ] || fail "too few files to say anything"
tape setblk 0
tape rewind
tar -b 128 -cf "$TAPE0" -T /tmp/list
tape rewind
mkdir /tmp/back
tar -b 128 -C /tmp/back -xf "$TAPE0"
cd /tmp/back
sha256sum --quiet -c /tmp/sums
cd /
changer unload 1 0
logout
