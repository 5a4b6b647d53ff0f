#!/bin/bash
# First process of the guest. The harness boots user-mode Linux on a read-only view of the host's root
# (hostfs) with this file as init. VTL_SHARE is the folder that the guest shares with the host:
#
#   guest/    this file and its neighbours (from the harness)
#   job.sh    what to run                 (from the harness)
#   env       variables of the run        (from the harness)
#   answer/   replies to `host` requests  (from the harness, see lib.sh)
#   status    exit status of job.sh       (from us; absent when the guest died)
#   dmesg     the guest's kernel log      (from us)
#   out/      files the job wants to keep (from the job)
#
# Whatever happens in the job, the last lines switch the guest off.

export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C TZ=UTC

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mountpoint -q /dev || mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
[ -e /dev/fd ] || ln -s /proc/self/fd /dev/fd
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=0755 tmpfs /run
mount -t tmpfs -o mode=1777 tmpfs /tmp
mkdir -p /run/share /run/lock /run/m/lib/modules
# The root is read-only; the share is the one place where files go in and out.
mount -t hostfs none -o "$VTL_SHARE" /run/share
ln -s "/usr/lib/uml/modules/$(uname -r)" /run/m/lib/modules/

set -a
. /run/share/env
set +a

ip link set lo up
ip addr add "$GUEST_ADDRESS/24" dev vec0
ip link set vec0 up
hostname "$GUEST_NAME"

bash /run/share/guest/job.sh
echo o >/proc/sysrq-trigger
sleep 5
halt -f -p
