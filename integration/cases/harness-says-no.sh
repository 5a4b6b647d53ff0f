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

# A page: what it shows must be there, line by line and in its order, and a command that fails ends it.
. /run/share/guest/page.sh
printf 'a  row\tof seven\nkey=17 end\nlast\n' >/tmp/said
showing() { printf '%s\n' "$@" >/tmp/wanted && shown /tmp/wanted /tmp/said; }
showing "a row of seven" "key=… end" "last"
showing "row … seven"
expect_fail showing "key=17 end" "a row"
contains "lines in another order" "$REFUSAL" "like 'a row'"
expect_fail showing "key=… first"
expect_fail showing "seven … row"
expect_fail showing "a [r]*w"
mkdir -p /run/share/pages/broken.md
printf 'echo before\nfalse\necho after\n' >/run/share/pages/broken.md/001.sh
echo "broken.md:1 (server)" >/run/share/pages/broken.md/001.at
: >/run/share/pages/broken.md/001.shows
expect_fail bash -c '. /run/share/guest/lib.sh; . /run/share/guest/page.sh; page broken.md; echo went on'
contains "what the commands of a page said" "$REFUSAL" "before"
! grep -qx "after\|went on" <<<"$REFUSAL" || fail "it went on behind a command that failed"
