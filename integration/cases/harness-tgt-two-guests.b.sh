. /run/share/guest/lib.sh
iscsi_up
[ "$INITIATOR" = iqn.2026-11.internal.vtl-test:guest1 ] || fail "wrong name $INITIATOR"
host await written
login 1
until_true 20 has_medium
contains "the other guest's data" "$(dd if="$TAPE0" bs=64k count=1 status=none | tr -d '\0')" "from the first guest"
host signal read
