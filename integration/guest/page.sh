# Runs pages of docs/ that the case's head names; after lib.sh.

# page NAME: the commands of docs/NAME in their order, in this shell, as somebody would type them. What a page shows must
# be among what its commands said.
page() {
    local folder=/run/share/pages/${1//\//_}
    [ -d "$folder" ] || fail "the head of the case does not name the page $1"
    for _block in "$folder"/*.sh; do
        _block=${_block%.sh}
        step "$(cat "$_block.at")"
        cat "$_block.sh"
        echo "--"
        _said=/run/said
        exec 8>&1
        trap 'cat $_said >&8' EXIT
        # In this shell: what is set in one block counts in the next.
        # shellcheck disable=SC1090
        . "$_block.sh" >$_said 2>&1
        trap - EXIT
        cat $_said
        shown "$_block.shows" $_said
        ! grep -q iscsiadm "$_block.sh" || quiet
    done
}

# shown WANTED SAID: each line of the one is in a line of the other, in this order. Blanks count as one, … is anything.
shown() {
    local wanted line pattern
    tr -s ' \t' ' ' <"$2" >/run/squeezed
    exec 7</run/squeezed
    while IFS= read -r wanted; do
        pattern=$(tr -s ' \t' ' ' <<<"$wanted" | sed 's/[][*?\\()|!@+]/\\&/g; s/…/*/g; s/ $//')
        while :; do
            IFS= read -r line <&7 || fail "no line (after those before it) like '$wanted'"
            # shellcheck disable=SC2053
            [[ $line == *$pattern* ]] && break
        done
    done <"$1"
    exec 7<&-
}

# quiet: the kernel and udev have done with a log-in or log-out; a person is slower than that anyway.
quiet() {
    local before=none now
    while :; do
        SYSTEMD_IGNORE_CHROOT=1 udevadm settle -t 20
        now=$(ls /dev/sg* /dev/nst* /dev/tape/by-id 2>/dev/null || true)
        [ "$now" != "$before" ] || break
        before=$now
        sleep 0.5
    done
}

# logged_in: this host uses the default library, as pages about backup software want it.
logged_in() {
    iscsiadm -m discovery -t sendtargets -p 127.0.0.1
    iscsiadm -m node -T iqn.2026-11.internal.vtl:lib0 -p 127.0.0.1 --login
    quiet
}
