# The daemon's doors, from outside: ready line, folder and token modes, a second start, a wide listener, SIGTERM.
#: where: host
#: limit: 180
. "$LIB"
state=server/state
is "mode of the state folder" 700 "$(stat -c %a $state)"
is "mode of the token" 600 "$(stat -c %a $state/api.token)"
vtl() { "$BIN/vtl" --token-file $state/api.token "$@"; }

step "the client finds the default address"
contains "library ls" "$(vtl --json library ls)" lib0
contains "drive ls" "$(vtl --json drive ls)" '"lun"'
contains "cartridge ls" "$(vtl --json cartridge ls)" VTL010L8
expect_fail vtl --json library show nothing
echo wrong >token
expect_fail "$BIN/vtl" --token-file token --json library ls
is "the API without a token" 401 "$(curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:8460/api/v1/libraries)"
is "counters without a token" 401 "$(curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:8460/metrics)"
contains "the page that asks who comes" "$(curl -sf http://127.0.0.1:8460/)" "<title>vtl</title>"
if [[ "${VTL_STORE:-}" == *encrypted* ]]; then
    step "a keyring that was never exported is a problem until it is"
    expect_fail vtl system status
    contains "its words" "$REFUSAL" "has not been exported"
    vtl store key export keyring
fi
vtl system status

step "a second start on the same state"
expect_fail timeout 20 "$BIN/vtld" --state $state --listen 127.0.0.1:3261 --api 127.0.0.1:8461

step "a wide listener without a rule"
expect_fail timeout 20 "$BIN/vtld" --state other --listen 0.0.0.0:3261 --api 127.0.0.1:8461
contains "its words" "$REFUSAL" iscsi.allow_any_initiator

step "an unknown setting"
expect_fail timeout 20 "$BIN/vtld" --state other --listen 127.0.0.1:3261 --api 127.0.0.1:8461 --set iscsi.colour=red
contains "its words" "$REFUSAL" iscsi.colour

step "no library, and a stop by each signal"
for signal in TERM INT; do
    "$BIN/vtld" --state empty-$signal --listen 127.0.0.1:3261 --api 127.0.0.1:8461 --set library.default=none >log 2>&1 &
    daemon=$!
    until_true 20 grep -q '^ready' log
    [[ "$("$BIN/vtl" --api http://127.0.0.1:8461 --state empty-$signal --json library ls)" != *lib0* ]] || fail "a library, though none was asked for"
    kill -$signal $daemon
    wait $daemon || fail "stopped by $signal, it ended with $?"
done
