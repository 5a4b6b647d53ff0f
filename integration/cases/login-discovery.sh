# Discovery finds the target, login finds a changer and two LTO-8 drives, logout leaves nothing, twice.
. /run/share/guest/lib.sh
iscsi_up
is discovery "$PORTAL:3260,1 $TARGET" "$(discover)"
for round in 1 2; do
    step "round $round"
    login
    seen=$(lsscsi -g)
    echo "$seen"
    is "units" 3 "$(wc -l <<<"$seen")"
    matches "changer on LUN 0" "$seen" '^\[[0-9]+:0:0:0\] +mediumx +IBM +03584L32 .*/dev/sch0 +/dev/sg[0-9]+ *$'
    matches "drive on LUN 1" "$seen" '^\[[0-9]+:0:0:1\] +tape +IBM +ULT3580-TD8 .*/dev/st[01] +/dev/sg[0-9]+ *$'
    matches "drive on LUN 2" "$seen" '^\[[0-9]+:0:0:2\] +tape +IBM +ULT3580-TD8 .*/dev/st[01] +/dev/sg[0-9]+ *$'
    logout
done
step "serial numbers differ and stay"
login
first=$(sg_vpd -p sn --raw "$TAPE0_SG" | tail -c +5)
second=$(sg_vpd -p sn --raw "$TAPE1_SG" | tail -c +5)
[ -n "$first" ] && [ "$first" != "$second" ] || fail "serials '$first' and '$second'"
logout
host server restart
login
is "serial after a restart" "$first" "$(sg_vpd -p sn --raw "$TAPE0_SG" | tail -c +5)"
contains "list of discovered targets" "$(iscsiadm -m node)" "$TARGET"
