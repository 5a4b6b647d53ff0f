# A real tree over two small cartridges as one multi-volume archive, restored and compared file by file.
#: limit: 800
#: long-limit: 1800
. /run/share/guest/lib.sh
if [ "$LONG" = 1 ]; then tree=1100 cartridge=640; else tree=150 cartridge=100; fi
host vtl cartridge create SML001L8 --size ${cartridge}m
host vtl cartridge create SML002L8 --size ${cartridge}m
iscsi_up
login
tape_size() { sg_read_attr -f 0x1 "$TAPE0_SG"; }

step "the list of files: $tree MiB of /usr/lib, then /usr/share"
# The walk ends early when there is enough, which find hears as a broken pipe.
{ find /usr/lib /usr/share -xdev -type f -size -60M -printf '%s %p\n' 2>/dev/null || true; } | grep -v '[\\"]' |
    awk -v limit=$((tree << 20)) '{ sum += $1; sub(/^[0-9]+ /, ""); print } sum >= limit { exit }' >/tmp/list || true
tr '\n' '\0' </tmp/list | du -cm --apparent-size --files0-from=- | tail -1 >/tmp/size
[ "$(cut -f1 /tmp/size)" -ge $tree ] || fail "this machine's /usr has only $(cut -f1 /tmp/size) MiB of $tree"
wc -l /tmp/list
xargs -d '\n' sha256sum </tmp/list >/tmp/sums

step "write over two cartridges"
load SML001L8
tape_size
cat >/tmp/next-volume <<END
#!/bin/bash
# tar calls this when a volume is full or at its end, with the archive closed.
. /run/share/guest/lib.sh
CHANGER=$CHANGER TAPE0=$TAPE0
echo "volume \$TAR_VOLUME, \$TAR_SUBCOMMAND" | tee -a /tmp/volumes
mt -f $TAPE0 offline
changer unload
load SML00\${TAR_VOLUME}L8
END
chmod +x /tmp/next-volume
: >/tmp/volumes
tape setblk 0
tar -b 512 -M -F /tmp/next-volume -P -cf "$TAPE0" -T /tmp/list
is "volumes used" "volume 2, -c" "$(cat /tmp/volumes)"
changer unload

step "restore, beginning with the first cartridge"
: >/tmp/volumes
load SML001L8
mkdir -p /run/share/out/back
tar -b 512 -M -F /tmp/next-volume -C /run/share/out/back --transform 's,^/,,' --no-same-owner -xf "$TAPE0"
is "volumes used" "volume 2, -x" "$(cat /tmp/volumes)"
cd /run/share/out/back
sed 's,  /,  ,' /tmp/sums >/tmp/sums.relative
sha256sum --quiet -c /tmp/sums.relative
is "files restored" "$(wc -l </tmp/list)" "$(find . -type f | wc -l)"
cd /
changer unload
