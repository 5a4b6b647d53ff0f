#!/bin/sh
# In place of rclone: NAME:PATH is remotes/NAME/PATH beside this file. Each object that is sent is a line with its time in remotes/NAME.tries, and ends
# with the code on the same line of remotes/NAME.codes; without one it arrives. So does a claim on a folder, which has no line.
home=${0%/*}/remotes
command=$1
shift
stat='' offset=0 count=''
while [ "$1" != -- ]; do
    case $1 in
    --stat) stat=yes ;;
    --offset) offset=$2 && shift ;;
    --count) count=$2 && shift ;;
    esac
    shift
done
shift
at() { echo "$home/${1%%:*}/${1#*:}"; }
entry() { echo "{\"Path\":\"$1\",\"Name\":\"x\",\"Size\":$(wc -c <"$2"),\"IsDir\":false}"; }
case $command$stat in
copyto)
    name=$home/${2%%:*} to=$(at "$2")
    code=0
    case $2 in
    *.claim.*) ;;
    *)
        date +%s >>"$name.tries"
        code=$(sed -n "$(wc -l <"$name.tries")p" "$name.codes")
        ;;
    esac
    [ "${code:-0}" = 0 ] || { echo "made to end with $code" >&2 && exit "$code"; }
    mkdir -p "${to%/*}" && cp "$1" "$to"
    ;;
lsjsonyes)
    [ -f "$(at "$1")" ] || exit 4
    entry x "$(at "$1")"
    ;;
lsjson)
    cd "$(at "$1")" || exit 3
    find . -type f | while read -r file; do entry "${file#./}" "$file"; done
    ;;
cat) tail -c "+$((offset + 1))" "$(at "$1")" | head -c "$count" ;;
md5sum) md5sum <"$(at "$1")" ;;
deletefile) rm "$(at "$1")" ;;
*) exit 1 ;;
esac
