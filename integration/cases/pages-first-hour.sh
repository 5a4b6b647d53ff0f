# The first hour and disaster, exactly as their pages say: from a first start to a library that is lost and brought back.
#: server: none
#: pages: first-hour.md disaster.md
#: limit: 400
. /run/share/guest/machine.sh
. /run/share/guest/lib.sh
. /run/share/guest/page.sh
page first-hour.md
page disaster.md
