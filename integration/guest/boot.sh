#!/bin/sh
# Boots the Debian in a folder: its systemd as process 1 of namespaces of its own, without a network. `boot.sh ROOT GROUP`, GROUP being the name of
# a control group that is made for it. Ends with systemd; whoever kills this process kills all of it.
set -e
root=$1 group=$2

if [ "$3" != inside ]; then
    group=$(findmnt -n -o TARGET -t cgroup2 | head -n 1)/$group
    mkdir "$group"
    echo $$ >"$group/cgroup.procs"
    exec unshare --fork --kill-child --pid --mount --cgroup --uts --ipc --net sh "$0" "$root" "$2" inside
fi

mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
# Nothing of the machine's own settings is to be written from there.
for name in sys sysrq-trigger; do
    # A kernel may be without the latter.
    [ -e "$root/proc/$name" ] || continue
    mount --bind "$root/proc/$name" "$root/proc/$name"
    mount -o remount,bind,ro "$root/proc/$name"
done
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 none "$root/sys/fs/cgroup"
# What the unit's PrivateDevices= expects to find.
mount -t tmpfs -o mode=755 dev "$root/dev"
for name in null zero full random urandom tty; do
    touch "$root/dev/$name"
    mount --bind "/dev/$name" "$root/dev/$name"
done
mkdir "$root/dev/shm" "$root/dev/pts" "$root/dev/mqueue"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mount -t tmpfs -o mode=755 run "$root/run"
mount -t tmpfs tmp "$root/tmp"
# In a mere chroot no user namespace can be made: PrivateUsers= needs one.
mkdir -p "$root/.old"
cd "$root"
pivot_root . .old
umount -l /.old
exec env -i container=vtl PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd
