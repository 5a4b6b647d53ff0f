# A machine that can be written, for pages of docs/: the host's root with a layer of its own on top, and on it the
# server's package. To be sourced before lib.sh by a case with `server: none`; goes on inside.
#
# The parts of the package are put where it puts them and its postinst is run; that dpkg does the same is the matter of
# tests/package.rs. Nothing is started. systemctl and journalctl are replaced by guest/systemctl.sh, since no systemd runs here.
# Variables given by the harness: BIN (folder of our programs), CHECKOUT (the source).

if [ -z "${IN_MACHINE:-}" ]; then
    set -e
    modprobe -d /run/m overlay
    mkdir -p /run/disk /run/root
    mount -t ext4 /dev/ubda /run/disk
    mkdir -p /run/disk/upper /run/disk/work
    mount -t overlay overlay -o lowerdir=/,upperdir=/run/disk/upper,workdir=/run/disk/work /run/root
    for program in vtld vtl impexp vtl-decode vtl-inspect; do install -m 0755 "$BIN/$program" /run/root/usr/bin/; done
    rm -rf /run/root/etc/vtl /run/root/var/lib/vtl
    install -D -m 0640 "$CHECKOUT/packaging/vtl.toml" /run/root/etc/vtl/vtl.toml
    install -D -m 0644 "$CHECKOUT/packaging/vtld.service" /run/root/lib/systemd/system/vtld.service
    install -m 0755 "$CHECKOUT/packaging/debian/postinst" /run/postinst
    install -m 0755 /run/share/guest/systemctl.sh /run/root/usr/bin/systemctl
    ln -sf systemctl /run/root/usr/bin/journalctl
    for folder in proc sys dev run; do mount --rbind "/$folder" "/run/root/$folder"; done
    mount -t tmpfs -o mode=1777 tmpfs /run/root/tmp
    chroot /run/root /run/postinst configure "" >/run/postinst.log 2>&1 || { cat /run/postinst.log; exit 1; }
    export IN_MACHINE=1
    exec chroot /run/root bash /run/share/job.sh </dev/null
fi

# Addresses of the pages: the server's (RFC 5737 keeps them for examples), and its name.
ip addr add 192.0.2.10/32 dev lo
for module in iscsi_tcp st sg ch sd_mod; do modprobe -d /run/m $module; done
mkdir -p /run/lock/iscsi /run/units /run/udev
echo "InitiatorName=$INITIATOR" >/etc/iscsi/initiatorname.iscsi
/lib/systemd/systemd-udevd --daemon
cd /root
