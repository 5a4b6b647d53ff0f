# With a list of initiators, a name on it enters and another does not, and is not told of the target.
#: limit: 240
. /run/share/guest/lib.sh
host vtl iscsi initiator add lib0 "$INITIATOR"
iscsi_up
login
load VTL001L8
logout
step "the same machine under another name"
iscsid_as iqn.2026-11.internal.vtl-test:stranger
node_set node.session.initial_login_retry_max 1
expect_fail iscsiadm -m node -T "$TARGET" -p "$PORTAL" -l
contains refusal "$REFUSAL" "authorization failure"
step "discovery does not name it either"
[[ "$(discover 2>&1 || true)" != *"$TARGET"* ]] || fail "a stranger is told of the target"
