# The first hour, what is done daily after it, and disaster, exactly as their pages say, in a fresh Debian under systemd: from the package to a library that is lost and brought back.
#: server: none
#: root: debian
#: pages: first-hour.md keys.md export.md vault.md policies.md pools.md operations.md access.md quadstor.md disaster.md
#: limit: 400
. /run/share/guest/lib.sh
. /run/share/guest/page.sh
cd /root
page first-hour.md
# What they make they remove: disaster begins where the first hour ends.
for name in keys export vault policies pools operations access quadstor; do page $name.md; done
page disaster.md
