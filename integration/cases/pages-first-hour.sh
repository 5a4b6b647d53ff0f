# The first hour and disaster, exactly as their pages say, in a fresh Debian under systemd: from the package to a library that is lost and brought back.
#: server: none
#: root: debian
#: pages: first-hour.md disaster.md
#: limit: 400
. /run/share/guest/lib.sh
. /run/share/guest/page.sh
cd /root
page first-hour.md
page disaster.md
