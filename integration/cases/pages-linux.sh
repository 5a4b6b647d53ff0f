# The start of the README, and Linux, exactly as they say: CHAP, names that stay, robot, drives, another drive, a restart.
#: server: none
#: pages: ../README.md initiators/linux.md
#: limit: 240
. /run/share/guest/machine.sh
. /run/share/guest/lib.sh
. /run/share/guest/page.sh
systemctl start vtld
page ../README.md
page initiators/linux.md
