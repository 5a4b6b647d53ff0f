# libiscsi's own tools see the units without a kernel, over IPv4 and by the target's name.
#: where: host
#: limit: 120
. "$LIB"
seen=$(iscsi-ls -s "iscsi://$PORTAL/")
echo "$seen"
contains "target" "$seen" "Target:$TARGET Portal:$PORTAL:3260,1"
matches "changer" "$seen" '^ *Lun:0 +Type:MEDIA_CHANGER'
matches "drive" "$seen" '^ *Lun:1 +Type:SEQUENTIAL_ACCESS'
matches "drive" "$seen" '^ *Lun:2 +Type:SEQUENTIAL_ACCESS'
contains "inquiry" "$(iscsi-inq "iscsi://$PORTAL/$TARGET/1")" "Product:ULT3580-TD8"
contains "inquiry" "$(iscsi-inq "iscsi://$PORTAL/$TARGET/0")" "Product:03584L32"
for page in 0x00 0x80 0x83; do iscsi-inq -e 1 -c $page "iscsi://$PORTAL/$TARGET/1"; done
expect_fail iscsi-inq "iscsi://$PORTAL/$TARGET:none/1"
