# Bacula's btape: its whole test, with the autochanger part.
#: limit: 800
. /run/share/guest/lib.sh
iscsi_up
login
mkdir -p /run/bacula
mount -t tmpfs tmpfs /var/lib/bacula
cat >/run/bacula/sd.conf <<END
Storage { Name = test-sd; SDPort = 9103; WorkingDirectory = "/run/bacula"; Pid Directory = "/run/bacula"; }
Director { Name = test-dir; Password = "none"; }
Messages { Name = Standard; console = all; }
Autochanger {
  Name = library; Device = drive-0; Changer Device = $CHANGER
  Changer Command = "/etc/bacula/scripts/mtx-changer %c %o %S %a %d"
}
Device {
  Name = drive-0; Drive Index = 0; Media Type = LTO-8; Archive Device = $TAPE0
  AutomaticMount = yes; AlwaysOpen = yes; RemovableMedia = yes; RandomAccess = no; AutoChanger = yes
}
END
step "mtx-changer alone"
mtx_changer() { /etc/bacula/scripts/mtx-changer "$CHANGER" "$1" "${2:-0}" "$TAPE0" 0; }
is slots 28 "$(mtx_changer slots)"
is "first of the list" "1:VTL001L8" "$(mtx_changer list | sed -n 1p | tr -d ' ')"
contains listall "$(mtx_changer listall)" "I:25:E"
is loaded 0 "$(mtx_changer loaded)"
mtx_changer load 1 >/dev/null
is loaded 1 "$(mtx_changer loaded)"
step "btape test; 'y' continues with the autochanger part"
printf 'test\ny\nquit\n' | timeout 350 btape -c /run/bacula/sd.conf drive-0 >/run/share/out/btape.log 2>&1 || { cat /run/share/out/btape.log; fail "btape: see above"; }
cat /run/share/out/btape.log
output=$(cat /run/share/out/btape.log)
is "write and read tests that succeeded" 2 "$(grep -c '=== Test Succeeded. End Write, rewind, and re-read test ===' <<<"$output")"
contains append "$output" "We should be in file 3. I am at file 3. This is correct!"
contains append "$output" "Total files=4, blocks=7, bytes = 451,136"
contains append "$output" "We should be in file 4. I am at file 4. This is correct!"
contains "backspace over a record" "$output" "Backspace record OK."
contains "re-read" "$output" "=== End Write, backup, and re-read test ==="
contains "forward space" "$output" "=== End Forward space files test ==="
contains autochanger "$output" "The test autochanger worked!!"
for bad in "NOT correct" "ERR=" "worked this time, please add" "Attempting again" "terribly serious" "Test failed"; do
    [[ "$output" != *"$bad"* ]] || fail "btape said: $(grep -F -m1 -- "$bad" <<<"$output")"
done
