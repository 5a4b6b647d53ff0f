# Linux, exactly as its page says: CHAP, names that stay, robot, drives, another drive, a restart.
#: server: none
#: pages: initiators/linux.md
#: limit: 240
. /run/share/guest/machine.sh
. /run/share/guest/lib.sh
. /run/share/guest/page.sh
systemctl start vtld
page initiators/linux.md
