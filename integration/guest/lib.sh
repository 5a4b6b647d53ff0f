# Functions for jobs that run in the guest; every job begins with `. /run/share/guest/lib.sh`.
#
# A job stops at the first command that fails (and says which); what must fail is written `expect_fail ...`.
# Variables given by the harness: PORTAL (address of the server), TARGET (name of the library's target),
# GUEST_NAME, GUEST_ADDRESS, INITIATOR, SHARE_ON_HOST (the share's path there), TAPES (drives of the library),
# LONG (1 for the counts that an issue states, else 0).
# Variables set by `login`: CHANGER (sg node), TAPE0 TAPE1 .. (nst nodes), TAPE0_SG .. (sg nodes).

. /run/share/guest/check.sh

# ---- asking the host -----------------------------------------------------------------------------------------

# host server kill|stop|start|restart    kill is SIGKILL, stop is SIGTERM and waits; start waits for "ready"
# host vtl ARGS..                        runs the management client there; prints its output
# host impexp ARGS..                     the job list
# host second start|stop|kill            another daemon, without a library, port 3261
# host vtl2 ARGS..                       its client
# host s3 start                          an S3 server for both, http://127.0.0.1:9000
# host sh SCRIPT                         bash there, in the folder $WORK_ON_HOST, beside the servers; $BIN has our programs
# host net down|up                       takes this guest's cable out, puts it back
# host signal NAME / host await NAME     meeting points between two guests
# The answer's first line is the exit status, the rest is output.
host() {
    local id answer
    id="$(date +%s%N)-$BASHPID"
    printf '%s\n' "$@" >/run/share/ask/"$id.part"
    sync /run/share/ask/"$id.part"
    mv /run/share/ask/"$id.part" /run/share/ask/"$id"
    until [ -e /run/share/answer/"$id" ]; do sleep 0.05; done
    answer=$(cat /run/share/answer/"$id")
    if [[ "$answer" == *$'\n'* ]]; then printf '%s\n' "${answer#*$'\n'}"; fi
    return "${answer%%$'\n'*}"
}

# ---- iSCSI ---------------------------------------------------------------------------------------------------

# iscsi_up: modules, a private copy of open-iscsi's configuration, and the daemon under our name.
iscsi_up() {
    local module
    for module in iscsi_tcp st sg ch sd_mod; do modprobe -d /run/m $module; done
    mkdir -p /run/lock/iscsi /run/etc-iscsi /run/lib-iscsi
    cp /etc/iscsi/iscsid.conf /run/etc-iscsi/
    mount --bind /run/etc-iscsi /etc/iscsi
    # Debian 12 keeps its records below /etc/iscsi, later versions here.
    [ ! -d /var/lib/iscsi ] || mount --bind /run/lib-iscsi /var/lib/iscsi
    iscsid_as "$INITIATOR"
}

# iscsid_as INITIATOR-NAME: starts open-iscsi's daemon under this name, in place of one that runs.
iscsid_as() {
    if [ -n "${ISCSID:-}" ]; then
        kill "$ISCSID"
        while [ -e "/proc/$ISCSID" ]; do sleep 0.1; done
    fi
    echo "InitiatorName=$1" >/etc/iscsi/initiatorname.iscsi
    # A session of its own: when it ends, it ends its process group.
    setsid iscsid -f >/run/iscsid.log 2>&1 &
    ISCSID=$!
    # So that a plain `wait` of a job does not wait for it.
    disown
    until_true 10 iscsiadm -m iface
}

discover() { iscsiadm -m discovery -t sendtargets -p "$PORTAL"; }

# node_set KEY VALUE: a setting of the target's node record.
node_set() { iscsiadm -m node -T "$TARGET" -p "$PORTAL" -o update -n "$1" -v "$2"; }

# login [TAPES [CHANGERS]]: discovers when there is no record yet, logs in, waits for the devices and finds them.
login() {
    iscsiadm -m node -T "$TARGET" -p "$PORTAL" >/dev/null 2>&1 || discover
    iscsiadm -m node -T "$TARGET" -p "$PORTAL" -l
    find_devices "${1:-${TAPES:-2}}" "${2:-1}"
}

logout() {
    iscsiadm -m node -T "$TARGET" -p "$PORTAL" -u
    until_true 20 no_devices
}

no_devices() { [ -z "$(lsscsi)" ]; }

# sessions_up: all sessions are logged in (after a server's death the kernel and iscsid log in again by themselves).
sessions_up() {
    local state
    for state in /sys/class/iscsi_session/*/state; do [ "$(cat "$state")" = LOGGED_IN ] || return 1; done
    for state in /sys/class/iscsi_connection/*/state; do
        [ ! -e "$state" ] || [ "$(cat "$state")" = up ] || return 1
    done
}

# ---- devices -------------------------------------------------------------------------------------------------

count_devices() { # count_devices TAPES CHANGERS
    [ "$(lsscsi -g | awk '$2 == "tape" && /\/dev\/st/ && $NF ~ /\/dev\/sg/' | wc -l)" -eq "$1" ] &&
        [ "$(lsscsi -g | awk '$2 == "mediumx" && $NF ~ /\/dev\/sg/' | wc -l)" -eq "$2" ]
}

# find_devices TAPES CHANGERS: waits for them by SCSI type and names them in the order of their LUNs.
find_devices() {
    local n=0 address st sg
    until_true 30 count_devices "$1" "$2"
    while read -r address st sg; do
        until_true 10 test -c "/dev/n${st##*/}"
        printf -v "TAPE$n" '%s' "/dev/n${st##*/}"
        printf -v "TAPE${n}_SG" '%s' "$sg"
        n=$((n + 1))
    done < <(lsscsi -g | awk '$2 == "tape" { print $1, $(NF-1), $NF }' | sort -V)
    CHANGER=$(lsscsi -g | awk '$2 == "mediumx" { print $NF; exit }')
}

# mt on the first drive.
tape() { mt -f "$TAPE0" "$@"; }

# position: "file block" as Linux st counts them; -1 is "not known".
position() { mt -f "${1:-$TAPE0}" status | sed -n 's/^File number=\(-*[0-9]*\), block number=\(-*[0-9]*\),.*/\1 \2/p'; }

# at FILE BLOCK: where the first drive stands.
at() { is "position (file block)" "$1 $2" "$(position)"; }

# tell_is N: the logical block address that READ POSITION gives.
tell_is() { is "block address" "At block $1." "$(tape tell)"; }

# online: the first drive has a medium.
has_medium() { mt -f "${1:-$TAPE0}" status | grep -q ONLINE; }

changer() { mtx -f "$CHANGER" "$@"; }

# slot_of LABEL: the slot that mtx shows for a cartridge.
slot_of() {
    changer status | sed -n "s/^ *Storage Element \([0-9]*\)\( IMPORT\/EXPORT\)\{0,1\}:Full *:VolumeTag= *$1 *$/\1/p" | head -1
}

# load LABEL [DRIVE]: brings a cartridge into a drive by mtx, and waits until the drive is ready.
load() {
    local slot drive=${2:-0} node
    slot=$(slot_of "$1")
    [ -n "$slot" ] || fail "no slot holds $1: $(changer status)"
    changer load "$slot" "$drive"
    node=TAPE$drive
    until_true 30 has_medium "${!node}"
}

# ---- raw commands --------------------------------------------------------------------------------------------

# cdb SG BYTES-WANTED OPCODE..: sends a command through sg. Sets STATUS ("Good", "Check Condition", ..), SENSE (bytes
# in hex with blanks, empty for none) and RECEIVED (bytes that came, after the transport's residual); the data
# lie in /tmp/cdb.in. CDB_OUT=FILE sends that file instead of receiving.
cdb() {
    local text sg=$1 wanted=$2
    shift 2
    rm -f /tmp/cdb.in
    if [ -n "${CDB_OUT:-}" ]; then
        text=$(sg_raw -v -s "$wanted" -i "$CDB_OUT" "$sg" "$@" 2>&1) || true
    elif [ "$wanted" -gt 0 ]; then
        text=$(sg_raw -v -r "$wanted" -o /tmp/cdb.in "$sg" "$@" 2>&1) || true
    else
        text=$(sg_raw -v "$sg" "$@" 2>&1) || true
    fi
    STATUS=$(sed -n 's/^SCSI Status: *\(.*[^ ]\) *$/\1/p' <<<"$text")
    [ -n "$STATUS" ] || fail "no status from sg_raw $sg $*: $text"
    SENSE=$(sed -n '/Raw sense data/,/^ *$/{s/^ *\(\([0-9a-f][0-9a-f] \{1,2\}\)*[0-9a-f][0-9a-f]\) *$/\1/p}' <<<"$text" |
        tr '\n' ' ' | tr -s ' ' | sed 's/ $//')
    RECEIVED=0
    [ ! -e /tmp/cdb.in ] || RECEIVED=$(stat -c %s /tmp/cdb.in)
}

# sense_is KEY ASC ASCQ (two hex digits each): of the command sent last, in fixed format.
sense_is() {
    local bytes
    read -r -a bytes <<<"$SENSE"
    is "status" "Check Condition" "$STATUS"
    [ ${#bytes[@]} -ge 14 ] || fail "sense of ${#bytes[@]} bytes: $SENSE"
    is "sense key, code, qualifier" "$1 $2 $3" "$(printf '%02x' $((0x${bytes[2]} & 0x0f))) ${bytes[12]} ${bytes[13]}"
}

# sense_begins BYTES: the first bytes of the sense data as they stand.
sense_begins() {
    is "status" "Check Condition" "$STATUS"
    is "first bytes of the sense data" "$1" "${SENSE:0:${#1}}"
}

good() { is "status (sense $SENSE)" "Good" "$STATUS"; }

# ---- data ----------------------------------------------------------------------------------------------------

# pattern BYTES SEED: bytes that do not compress and are the same for the same seed.
pattern() { openssl enc -aes-128-ctr -pbkdf2 -nosalt -pass "pass:$2" -in /dev/zero 2>/dev/null | head -c "$1" || true; }

# block_of SIZE NUMBER SEED: a block that says which one it is in every 16 bytes, so that a mix-up is visible.
block_of() { blocks_of "$1" "$2" "$2" "$3"; }

# blocks_of SIZE FIRST LAST SEED: such blocks, one behind the other, each of exactly SIZE bytes.
blocks_of() {
    perl -e '($size, $first, $last, $seed) = @ARGV;
        print substr(sprintf("%08d %6s\n", $_, $seed) x ($size / 16 + 1), 0, $size) for $first .. $last' "$@" || true
}
