# Trees go to a mailslot and from there, sealed for a key, to a folder, an S3 server and rclone, where another client finds what the manifest says; another server imports them with the key, whole and lazily, and every file is the same. Beside it: impexp.
#: limit: 600
#: long-limit: 3600
#: arg: --set remotes.rclone_flags=["--config"]
. /run/share/guest/lib.sh
MIB=$([ "$LONG" = 1 ] && echo 1024 || echo 48)
HOME_TARGET=$TARGET
HOME_PORTAL=$PORTAL
iscsi_up

# field NAME: its first value in JSON.
field() { grep -o "\"$1\": *\"\{0,1\}[^\",}]*" | head -1 | sed 's/^"[^"]*": *"\{0,1\}//'; }

# at_home, elsewhere: log in to this server or the other one.
at_home() { TARGET=$HOME_TARGET PORTAL=$HOME_PORTAL; login; }
elsewhere() { TARGET=iqn.2026-11.internal.vtl:other PORTAL=$HOME_PORTAL:3261; login 1; }

# write LABEL: a tree, half random, half text, and behind a filemark the sums of its files.
write() {
    local n
    rm -rf /run/share/tree && mkdir -p /run/share/tree
    for n in $(seq 1 $((MIB / 8))); do
        pattern 4194304 "random $1 $n" >/run/share/tree/random$n
        block_of 4194304 "$n" "$1" >"/run/share/tree/text $n"
    done
    (cd /run/share/tree && find . -type f -print0 | sort -z | xargs -0 sha256sum) >/tmp/sums
    load "$1"
    tape setblk 0
    tar -b 512 -C /run/share/tree -cf "$TAPE0" .
    tar -b 128 -C /tmp -cf "$TAPE0" sums
    tape rewind
    changer unload "$2"
    rm -rf /run/share/tree
}

# compare LABEL: what a drive elsewhere gives.
compare() {
    rm -rf /run/share/back && mkdir /run/share/back
    load "$1"
    tar -b 512 -C /run/share/back -xf "$TAPE0"
    (cd /run/share/back && sha256sum --quiet -c /tmp/sums)
    is "files restored" $((MIB / 4)) "$(find /run/share/back -type f | wc -l)"
    tape rewind
    tape fsf 1
    tar -b 128 -C /run/share/back -xf "$TAPE0"
    cmp /tmp/sums /run/share/back/sums
    changer unload
    rm -rf /run/share/back
}

# eject SLOT LABEL: by the robot to the first mailslot, and its job, JOB, to the end.
eject() {
    changer transfer "$1" 25
    JOB=$(host vtl job ls | grep -o '"id": *[0-9]*' | tail -1 | grep -o '[0-9]*$')
    contains "mailslot" "$(changer status)" "Storage Element 25 IMPORT/EXPORT:Empty"
    contains "impexp -l" "$(host impexp -l)" "$2"
    contains "vault" "$(host vtl vault ls)" "$2"
    host vtl job wait "$JOB"
    is "state" completed "$(host vtl job show "$JOB" | field state)"
    matches "impexp -l" "$(host impexp -l)" "^$JOB +export +$2 +completed +100% +-$"
}

# as_told WHERE LABEL: rclone, which is no part of the server, lists what the manifest names, with its bytes, and nothing else, and reads what has its sums.
as_told() {
    # Debian's rclone reaches no S3 server where this variable is set.
    local of='rclone() { env -u AWS_CA_BUNDLE rclone --config rclone.conf "$@"; }'
    host sh "$of; rclone cat '$1/$2.manifest' >manifest"
    host sh 'python3 -c "import json; [print(one[\"sha256\"], \"\", one[\"name\"], one[\"bytes\"]) for one in json.loads(open(\"manifest\").readline())[\"objects\"]]" >told'
    is "what lies there" "$(host sh "cut -d ' ' -f 3- told; echo $2.manifest \$(wc -c <manifest)")" \
        "$(host sh "$of; rclone lsf -R --files-only --format ps --separator ' ' '$1'")"
    host sh "$of; cut -d ' ' -f -3 told >sums; rclone checksum sha256 sums '$1' --download --include '*.img.*'"
}

# of_job ID COLUMN..: what the long list of impexp says of it.
of_job() {
    local id=$1
    shift
    host impexp -L | awk -v id="$id" -v wanted="$*" '
        NR == 1 { for (n = 1; n <= NF; n++) at[$n] = n }
        $1 == id { n = split(wanted, names, " "); for (k = 1; k <= n; k++) printf "%s%s", $at[names[k]], k < n ? " " : "\n" }'
}

step "a key, a remote of each kind on both servers, and a second server"
host s3 start
host sh 'openssl genrsa -out key.pem 2048 2>/dev/null; chmod 600 key.pem; mkdir remote by-rclone; printf "[disk]\ntype = alias\nremote = %s\n" "$PWD/by-rclone" >rclone.conf'
host sh 'printf "[bucket]\ntype = s3\nprovider = Other\nendpoint = http://127.0.0.1:9000\naccess_key_id = made-up-access\nsecret_access_key = made-up-secret-key\n" >>rclone.conf'
host sh 'curl -sf -X PUT http://127.0.0.1:9000/tapes; (umask 077; echo made-up-access >access; echo made-up-secret-key >secret)'
host second start
for client in vtl vtl2; do
    host $client key import "$WORK_ON_HOST/key.pem" --name vault
    host $client remote create folder --type folder --path "$WORK_ON_HOST/remote"
    host $client remote create s3 --type s3 --endpoint http://127.0.0.1:9000 --allow-http --bucket tapes --prefix exports \
        --access-key-file "$WORK_ON_HOST/access" --secret-key-file "$WORK_ON_HOST/secret"
    host $client remote create rclone --type rclone --rclone-remote disk: --rclone-flag "--config=$WORK_ON_HOST/rclone.conf"
done
host vtl2 library create other --profile ibm-03584l32 --drives 1 --slots 10 --mailslots 2
host vtl library set lib0 migrate.key=vault migrate.chunk_size=16m

n=0
for remote in folder s3 rclone; do
    n=$((n + 1))
    label=VTL00${n}L8
    step "$remote: tried out; a tree of $MIB MiB is written, put out, and gone from the mailslot at once"
    host vtl remote test $remote
    host vtl library set lib0 migrate.remote=$remote
    at_home
    write $label $n
    eject $n $label
    logout
    folder=$(host vtl job show "$JOB" | field folder)
    step "$remote: another client finds there what the manifest says, and impexp tells of the job"
    case $remote in
    folder) as_told "remote/$folder" $label ;;
    s3) as_told "bucket:tapes/exports/$folder" $label ;;
    rclone) as_told "disk:$folder" $label ;;
    esac
    is "impexp -l" "$JOB export $label completed 100%" "$(host impexp -l | awk -v id="$JOB" '$1 == id { print $1, $2, $3, $4, $5 }')"
    is "impexp -L" "export $label completed 100% $remote $folder $(host sh 'wc -l <told') -" \
        "$(of_job "$JOB" TYPE LABEL STATE PERCENT REMOTE FOLDER OBJECTS ERROR)"
    matches "impexp -L" "$(of_job "$JOB" ATTEMPTS CREATED STARTED FINISHED)" '^[1-9] 20[^ ]+ 20[^ ]+ 20[^ ]+$'
    is "bytes" "$(of_job "$JOB" TOTAL_BYTES)" "$(of_job "$JOB" DONE_BYTES)"
    contains "impexp -j" "$(host impexp -j "$JOB")" "state: completed"

    step "$remote: verified without the key, removed here, imported on the other server, the same there"
    host vtl export verify --remote $remote --folder "$folder"
    host vtl vault rm $label
    host vtl2 cartridge import --remote $remote --folder "$folder" --wait
    host vtl2 vault load $label --library other
    elsewhere
    compare $label
    logout

    step "$remote: once more and lazily, loaded while its blocks come, the same"
    lazy=VTL10${n}L8
    host vtl2 cartridge import --remote $remote --folder "$folder" --as $lazy --lazy
    for _ in $(seq 300); do
        host vtl2 vault ls | grep -q $lazy && break
        sleep 0.2
    done
    host vtl2 vault load $lazy --library other
    elsewhere
    compare $lazy
    logout
done

step "impexp cancels an export that is under way: nothing of it stays on the remote, and the cartridge is in the vault"
host vtl remote create slow --type rclone --rclone-remote disk:slow \
    --rclone-flag "--config=$WORK_ON_HOST/rclone.conf" --rclone-flag --bwlimit=1M
host vtl library set lib0 migrate.remote=slow
at_home
load VTL004L8
tape setblk 0
pattern 33554432 slow | dd of="$TAPE0" bs=256k iflag=fullblock status=none
changer unload 4
changer transfer 4 25
logout
JOB=$(host impexp -l | awk '$3 == "VTL004L8" { print $1 }')
under_way() { host sh 'ls by-rclone/slow/*/VTL004L8.img.*'; }
cancelled() { [ "$(of_job "$JOB" STATE)" = cancelled ]; }
until_true 60 under_way
is "impexp -L" "export running slow" "$(of_job "$JOB" TYPE STATE REMOTE)"
host impexp -r -j "$JOB"
until_true 30 cancelled
is "what is left on the remote" "" "$(host sh 'find by-rclone -path "*/slow/*" -type f')"
contains "vault" "$(host vtl vault ls)" VTL004L8

step "a job that failed is an error there, with what went wrong, and what has ended is cleared"
expect_fail host vtl export verify --remote folder --folder VTL009L8-20260101_000000
JOB=$(host impexp -l | awk '$3 == "VTL009L8" { print $1 }')
is "impexp -L" "verify error folder VTL009L8-20260101_000000" "$(of_job "$JOB" TYPE STATE REMOTE FOLDER)"
matches "impexp -j" "$(host impexp -j "$JOB")" '^error: ..'
host impexp --clear
is "what has ended" "" "$(host impexp -l | awk '$2 == "export" || $2 == "verify"')"

step "a listing is that of rclone, line by line"
is "vtl remote ls" "$(host sh 'rclone --config rclone.conf ls disk: | awk "{ print \$2, \$1 }" | LC_ALL=C sort')" \
    "$(host vtl remote ls rclone | grep -o '"\(name\|size_bytes\)": *"\{0,1\}[^",}]*' | sed 's/^"[^"]*": *"\{0,1\}//' | paste -d' ' - -)"

step "impexp: titles, a blank tape that was not sent, an import that fails; what has ended is cleared"
host vtl cartridge export VTL009L8 --remote folder --wait
matches "titles" "$(host impexp -l)" '^ID +TYPE +LABEL +STATE +PERCENT +SKIPPED$'
matches "a blank one" "$(host impexp -l)" '^[0-9]+ +export +VTL009L8 +completed +100% +blank$'
expect_fail host vtl cartridge import --remote folder --folder VTL900L8-20200101_000000 --wait
matches "a failed one" "$(host impexp -l)" '^[0-9]+ +import +VTL900L8 +error '
matches "and why" "$(host impexp -L)" '^[0-9]+ +import +VTL900L8 +error .*VTL900L8-20200101_000000.*Z +[^ -]'
matches "impexp --clear" "$(host impexp --clear)" '^removed: [1-9]'
is "jobs after it" "" "$(host impexp -l)"

step "what lies in the folder says nothing without the key, and opens with openssl and vtl-decode"
host sh '! grep -rqF sums remote/*/*.img.*'
is "objects" "VTL001L8.img.000001" "$(host sh 'ls remote/* | head -1')"
is "bytes of the data key" 32 "$(host sh 'grep -o "\"wrapped\":\"[^\"]*" remote/*/*.manifest | cut -d\" -f4 | base64 -d | openssl pkeyutl -decrypt -inkey key.pem -pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256 | wc -c')"
host sh '"$BIN/vtl-decode" decode remote/* --key key.pem --out tape.img'
is "files in the image" $((MIB / 4)) "$(host sh 'tar -b 512 -tf tape.img | grep -vc "/$"')"
