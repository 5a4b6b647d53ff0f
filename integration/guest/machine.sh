# A machine that can be written, for pages of docs/: the host's root with a layer of its own on top, and on it the
# server's package. To be sourced before lib.sh by a case with `server: none`; goes on inside.
#
# Programs, unit, user and folders are as the package makes them; the package itself is the matter of `root: debian` and tests/package.rs.
# Nothing is started. systemctl and journalctl are replaced by guest/systemctl.sh, since no systemd runs here.
# Variables given by the harness: BIN (folder of our programs), CHECKOUT (the source).

if [ -z "${IN_MACHINE:-}" ]; then
    set -e
    modprobe -d /run/m overlay
    mkdir -p /run/disk /run/root
    mount -t ext4 /dev/ubda /run/disk
    mkdir -p /run/disk/upper /run/disk/work
    # xino: every file is on one device, as stat tells it; tar of one file system would leave most of them out.
    mount -t overlay overlay -o xino=on,lowerdir=/,upperdir=/run/disk/upper,workdir=/run/disk/work /run/root
    # The root without what is mounted on it: our programs may lie below /tmp. They are large, so none is copied.
    mkdir -p /run/lower
    mount --bind / /run/lower
    for program in vtld vtl impexp vtl-decode vtl-inspect; do
        touch "/run/root/usr/bin/$program"
        mount --bind "/run/lower$BIN/$program" "/run/root/usr/bin/$program"
    done
    install -m 0755 /run/share/guest/systemctl.sh /run/root/usr/bin/systemctl
    ln -sf systemctl /run/root/usr/bin/journalctl
    install -D -m 0644 "/run/lower$CHECKOUT/packaging/vtld.service" /run/root/lib/systemd/system/vtld.service
    # What the package's adduser makes; it takes seconds here.
    echo 'vtl:x:991:991::/var/lib/vtl:/usr/sbin/nologin' >>/run/root/etc/passwd
    echo 'vtl:x:991:' >>/run/root/etc/group
    for folder in proc sys dev run; do mount --rbind "/$folder" "/run/root/$folder"; done
    mount -t tmpfs -o mode=1777 tmpfs /run/root/tmp
    export IN_MACHINE=1
    exec chroot /run/root bash /run/share/job.sh </dev/null
fi

# Addresses of the pages: the server's (RFC 5737 keeps them for examples), and its name.
ip addr add 192.0.2.10/32 dev lo
for module in iscsi_tcp st sg ch sd_mod; do modprobe -d /run/m $module; done
mkdir -p /run/lock/iscsi /run/units /run/udev
# Without systemd nobody has mounted it, and others than root could not use it.
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
echo "InitiatorName=$INITIATOR" >/etc/iscsi/initiatorname.iscsi
/lib/systemd/systemd-udevd --daemon

# clean_server: vtld is as it is before its first start.
clean_server() {
    systemctl stop vtld
    rm -rf /var/lib/vtl /etc/vtl /srv/* /mnt/*
    install -d -m 0700 -o vtl -g vtl /var/lib/vtl
    install -d -m 0750 -o root -g vtl /etc/vtl
    install -m 0644 "/run/lower$CHECKOUT/packaging/vtl.toml" /etc/vtl/vtl.toml
}

clean_server
cd /root
