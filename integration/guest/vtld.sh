# The server's machine: a disk that is checked at boot as after a power cut, and the daemon on it. Ends when the
# host writes `stop` into the share; until then a kill of the whole guest is the power cut.
set -euo pipefail
e2fsck -p /dev/ubda || [ $? -eq 1 ]
mkdir -p /run/disk
mount -t ext4 /dev/ubda /run/disk
cp /run/share/vtld /run/vtld
# shellcheck disable=SC2086
/run/vtld --state /run/disk/state --listen "$GUEST_ADDRESS:3260" --set iscsi.allow_any_initiator=true $VTLD_ARGS &
daemon=$!
until [ -e /run/share/stop ]; do
    kill -0 $daemon || break
    sleep 0.2
done
kill -TERM $daemon 2>/dev/null || true
status=0
wait $daemon || status=$?
umount /run/disk
exit $status
