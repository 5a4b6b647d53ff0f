# CHAP: the right secret enters, a wrong one and none do not; mutual CHAP proves the target.
#: limit: 360
. /run/share/guest/lib.sh
iscsi_up
discover
printf 'first-secret-0001' >/run/share/out/secret
printf 'mutual-secret-002' >/run/share/out/mutual
sync
host vtl iscsi chap set lib0 --user backup --secret-file "$SHARE_ON_HOST/out/secret" \
    --mutual-user library --mutual-secret-file "$SHARE_ON_HOST/out/mutual"
node_set node.session.initial_login_retry_max 1

step "no CHAP"
expect_fail login
is "sessions" 0 "$(find /sys/class/iscsi_session -mindepth 1 2>/dev/null | wc -l)"

step "wrong secret"
node_set node.session.auth.authmethod CHAP
node_set node.session.auth.username backup
node_set node.session.auth.password wrong-secret-0001
expect_fail login
contains "refusal" "$REFUSAL" "authorization failure"

step "wrong user"
node_set node.session.auth.username somebody
node_set node.session.auth.password first-secret-0001
expect_fail login
contains "refusal" "$REFUSAL" "authorization failure"

step "right secret"
node_set node.session.auth.username backup
login
logout

step "mutual, right"
node_set node.session.auth.username_in library
node_set node.session.auth.password_in mutual-secret-002
login
logout

step "mutual, the target does not know what we expect"
node_set node.session.auth.password_in other-secret-0003
expect_fail login

step "no secret in the server's log or answers"
[[ "$(host vtl iscsi target ls)" != *secret-0* ]] || fail "a secret in the answer"
