# Every durable point of docs/semantics.md: what was written before it survives a kill right after it.
#: limit: 1000
. /run/share/guest/lib.sh
iscsi_up
discover
node_set node.session.timeo.replacement_timeout 60
login
load VTL001L8
tape setblk 0

write_blocks() { # three blocks of 100,000 bytes that no other round has, by raw WRITE(6) without a filemark
    local n
    for n in 1 2 3; do
        pattern 100000 "$1 block $n" >/tmp/block
        CDB_OUT=/tmp/block cdb "$TAPE0_SG" 100000 0a 00 01 86 a0 00
        good
    done
}

read_blocks() {
    local n
    for n in 1 2 3; do
        cdb "$TAPE0_SG" 100000 08 00 01 86 a0 00
        good
        pattern 100000 "$1 block $n" | cmp - /tmp/cdb.in || fail "block $n after '$1' is not what was acknowledged"
    done
}

raw() { cdb "$TAPE0_SG" 0 "$@"; good; }

# name | the durable point
points='
WRITE FILEMARKS, one              | raw 10 00 00 00 01 00
WRITE FILEMARKS, none: a sync     | raw 10 00 00 00 00 00
REWIND                            | raw 01 00 00 00 00 00
LOCATE(10)                        | raw 2b 00 00 00 00 00 01 00 00 00
LOCATE(16)                        | raw 92 00 00 00 00 00 00 00 00 00 00 01 00 00 00 00
SPACE backwards over a block      | raw 11 00 ff ff ff 00
READ after WRITE                  | cdb '"$TAPE0_SG"' 32768 08 00 00 80 00 00; sense_is 08 00 05
MODE SELECT, buffered mode 0      | tape drvbuffer 0; tape drvbuffer 1
LOAD UNLOAD, unload               | raw 1b 00 00 00 00 00
unload by the library             | changer unload
end of the session                | logout
a clean stop                      | host server stop
'
while IFS='|' read -r name point; do
    name=$(echo $name)
    [ -n "$name" ] || continue
    step "$name"
    until_true 30 tape rewind
    write_blocks "$name"
    eval "$point"
    host server kill
    host server start
    if [ "$name" = "end of the session" ]; then login; else until_true 90 sessions_up; fi
    until_true 20 sg_turs "$CHANGER"
    tape load 2>/dev/null || true
    has_medium || load VTL001L8
    until_true 30 tape rewind
    read_blocks "$name"
done <<<"$points"

step "buffered mode 0: each WRITE is durable before its status"
tape drvbuffer 0
tape rewind
write_blocks "unbuffered"
host server kill
host server start
until_true 90 sessions_up
until_true 30 tape rewind
read_blocks "unbuffered"
