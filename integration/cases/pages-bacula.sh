# Bacula, exactly as its page says: a library is configured, a folder backed up, restored and compared.
#: server: none
#: pages: initiators/bacula.md
#: limit: 240
. /run/share/guest/machine.sh
. /run/share/guest/lib.sh
. /run/share/guest/page.sh
systemctl start vtld
logged_in
install -d -o bacula -g bacula /run/bacula
page initiators/bacula.md
