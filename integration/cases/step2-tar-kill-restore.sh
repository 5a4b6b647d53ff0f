# What tar wrote and closed survives kill -9: restored after a restart, every file is the same.
#: limit: 480
. /run/share/guest/lib.sh
iscsi_up
login
step "a tree of 100 MiB, partly random, partly text"
mkdir -p /tmp/tree/random /tmp/tree/text
for n in $(seq 1 12); do pattern 4194304 "random $n" >/tmp/tree/random/$n; done
for n in $(seq 1 52); do block_of 1048576 "$n" text >"/tmp/tree/text/file $n"; done
: >/tmp/tree/text/empty
(cd /tmp/tree && find . -type f -print0 | sort -z | xargs -0 sha256sum) >/tmp/sums
is "files" 65 "$(wc -l </tmp/sums)"

step "load and tar"
load VTL001L8
tape setblk 0
time tar -b 512 -C /tmp/tree -cf "$TAPE0" .
at 1 0

step "kill -9 after the tape was closed, start, log in again"
host server kill
host server start
until_true 60 sessions_up
until_true 30 has_medium

step "restore"
rm -rf /tmp/tree
mkdir /tmp/back
tape rewind
time tar -b 512 -C /tmp/back -xf "$TAPE0"
cd /tmp/back
sha256sum --quiet -c /tmp/sums
is "files restored" 65 "$(find . -type f | wc -l)"
cd /

step "the library remembers where the cartridge is, and it goes home"
contains "status" "$(changer status)" "Data Transfer Element 0:Full (Storage Element 1 Loaded):VolumeTag = VTL001L8"
changer unload
is "slot of the cartridge" 1 "$(slot_of VTL001L8)"
logout
