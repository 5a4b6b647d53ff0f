# The harness itself: what must fail is noticed when it does not, and a failing command ends a job.
#: server: tgt
#: limit: 120
. /run/share/guest/lib.sh
expect_fail false
expect_fail bash -c '. /run/share/guest/lib.sh; expect_fail true'
contains "expect_fail true" "$REFUSAL" "should have failed: true"
expect_fail bash -c '. /run/share/guest/lib.sh; expect_fail no-such-program'
contains "a missing program is no refusal" "$REFUSAL" "could not be tried"
expect_fail bash -c '. /run/share/guest/lib.sh; false; echo went on'
[[ "$REFUSAL" != *"went on"* ]] || fail "a failed command did not end the job"
expect_fail bash -c '. /run/share/guest/lib.sh; is colour red blue'
contains "is" "$REFUSAL" "colour: wanted 'red', got 'blue'"
expect_fail bash -c '. /run/share/guest/lib.sh; until_true 1 false'
contains "until_true" "$REFUSAL" "not in time: false"
# The root is not ours to write.
expect_fail touch /usr/written
is "a write to the host's root" "read-only" "$(grep -o -i read-only <<<"$REFUSAL" | tr R r)"
