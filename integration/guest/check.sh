# Saying and checking, for scripts in the guest (through lib.sh) and on the host (`. "$LIB"`).

set -Eeuo pipefail
shopt -s inherit_errexit
trap '_failed $? "$BASH_COMMAND"' ERR

# Names the command and the lines that led to it, innermost first.
_failed() {
    local n where=
    for ((n = 1; n < ${#BASH_SOURCE[@]}; n++)); do where+=" ${BASH_SOURCE[n]##*/}:${BASH_LINENO[n - 1]}"; done
    echo "FAILED: $2 (status $1) at$where" >&2
}

# ---- saying and checking -------------------------------------------------------------------------------------

step() { echo "== $*"; }
fail() { echo "FAILED: $*" >&2; exit 1; }
skip() { echo "SKIP: $*"; exit 77; }

# is WHAT WANTED GOT
is() { [ "$2" = "$3" ] || fail "$1: wanted '$2', got '$3'"; }

# contains WHAT TEXT PART: TEXT holds PART as it stands.
contains() { [[ "$2" == *"$3"* ]] || fail "$1: '$3' is not in:
$2"; }

# matches WHAT TEXT REGEX (extended, per line)
matches() { grep -Eq -- "$3" <<<"$2" || fail "$1: no line matches /$3/ in:
$2"; }

# expect_fail COMMAND..: the command must fail, but not be missing or hang. Output is printed and kept in $REFUSAL.
REFUSAL=
expect_fail() {
    local status
    # Not as a condition: inside one, a function would go on after its first failure.
    trap - ERR
    set +e
    REFUSAL=$(set -e; "$@" 2>&1)
    status=$?
    set -e
    trap '_failed $? "$BASH_COMMAND"' ERR
    printf '%s\n' "$REFUSAL"
    case $status in
    0) fail "should have failed: $*" ;;
    124 | 126 | 127 | 137) fail "could not be tried (status $status): $*" ;;
    esac
}

# until_true SECONDS COMMAND..: tries again until the command succeeds.
until_true() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || fail "not in time: $*"
        sleep 0.2
    done
}
