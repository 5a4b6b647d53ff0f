# Runs pages of docs/ that the case's head names; after lib.sh. Builtins alone as far as it goes: a new process takes
# long in a guest.

# page NAME: the commands of docs/NAME in their order, in this shell, as somebody would type them. What a page shows must
# be among what its commands said.
page() {
    local folder=/run/share/pages/${1//\//_}
    [ -d "$folder" ] || fail "the head of the case does not name the page $1"
    for _block in "$folder"/*.sh; do
        _block=${_block%.sh}
        _commands=$(<"$_block.sh")
        step "$(<"$_block.at")"
        printf '%s\n--\n' "$_commands"
        _said=/run/said
        exec 8>&1
        trap 'cat $_said >&8' EXIT
        # In this shell: what is set in one block counts in the next.
        # shellcheck disable=SC1090
        . "$_block.sh" >$_said 2>&1
        trap - EXIT
        printf '%s\n' "$(<$_said)"
        shown "$_block.shows" $_said
        [[ "$_commands" != *iscsiadm* ]] || quiet
        # Five starts in ten seconds are too many for systemd; a person is slower.
        [[ "$_commands" != *systemctl* ]] || systemctl reset-failed vtld
    done
}

# shown WANTED SAID: each line of the one is in a line of the other, in this order. Blanks count as one, … is anything.
shown() {
    local wanted line
    local -a words
    exec 7<"$2"
    while read -r -a words; do
        wanted=${words[*]}
        while :; do
            read -r -u 7 -a words || fail "no line (after those before it) like '$wanted'"
            line=${words[*]}
            ! has_parts "$line" "$wanted" || break
        done
    done <"$1"
    exec 7<&-
}

# has_parts LINE WANTED: the parts of WANTED between … are in the line, one behind the other.
has_parts() {
    local line=$1 rest=$2… part
    while [ -n "$rest" ]; do
        part=${rest%%…*}
        rest=${rest#*…}
        [[ "$line" == *"$part"* ]] || return 1
        line=${line#*"$part"}
    done
}

# quiet: the kernel and udev have done with a log-in or log-out; a person is slower than that anyway.
quiet() {
    local before=none now
    while :; do
        SYSTEMD_IGNORE_CHROOT=1 udevadm settle -t 20
        now=$(shopt -s nullglob && echo /dev/sg* /dev/nst* /dev/tape/by-id/*)
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
