#!/bin/bash
# First process of a guest whose root is a fresh Debian (`root: debian` in the head of a case). The root gets a layer on
# the disk, so that it can be written; then its own systemd takes over, and the job is one of its units. The share is as
# init.sh says; VTL_SHARE is its folder on the host.
set -e
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
modules=/usr/lib/uml/modules

mount -t proc proc /proc
mount -t tmpfs -o mode=0755 tmpfs /run
mkdir -p /run/modules /run/disk /run/root
# Those of the kernel that runs are the host's, not this Debian's.
mount -t hostfs -o "ro,$modules" none /run/modules
insmod "/run/modules/$(uname -r)/kernel/fs/overlayfs/overlay.ko"
mount -t ext4 /dev/ubda /run/disk
mkdir -p /run/disk/upper /run/disk/work
# xino: see machine.sh.
mount -t overlay overlay -o xino=on,lowerdir=/,upperdir=/run/disk/upper,workdir=/run/disk/work /run/root

cd /run/root
rm debian.sh
mkdir -p lib/modules .old
mount --bind /run/modules lib/modules
# systemd leaves what is mounted as it is.
mount -t tmpfs -o mode=0755 tmpfs run
mkdir -p run/share run/systemd/system/multi-user.target.wants
mount -t hostfs none -o "$VTL_SHARE" run/share
# Nobody logs in at the console, which is the job's; the rest only takes long here.
for unit in getty.target systemd-{udev-trigger,update-utmp,update-utmp-runlevel,random-seed}.service \
    modprobe@{configfs,dm_mod,drm,efi_pstore,fuse,loop}.service; do
    ln -s /dev/null "run/systemd/system/$unit"
done
cat >run/systemd/system/job.service <<'UNIT'
[Unit]
Description=The job of the harness
[Service]
Type=exec
Environment=HOME=/root LC_ALL=C TZ=UTC PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
EnvironmentFile=/run/share/env
ExecStart=/bin/bash /run/share/guest/job.sh
# Nothing on the disk is wanted any more.
ExecStopPost=/bin/sh -c 'echo o >/proc/sysrq-trigger'
StandardOutput=tty
StandardError=tty
TTYPath=/dev/console
UNIT
ln -s ../job.service run/systemd/system/multi-user.target.wants/job.service
pivot_root . .old
exec env -i "PATH=$PATH" /lib/systemd/systemd
