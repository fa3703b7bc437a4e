#!/bin/sh
# Builds a release again in an environment that differs in everything that this machine lets differ, and
# compares every file, byte for byte.
#
#     reproducibility/vary.sh RELEASE COUNTERFOIL [--store DIR]
#
# RELEASE is a release directory, COUNTERFOIL the program, DIR the store with the inputs (the default one
# unless said; what the release needs of it is copied, and nothing is written to it). Works as root and as an ordinary user who may make user
# namespaces. What could not be varied is said, and is no failure.
#
# Exit codes: 0 every file is the same, 1 the machine did not let us, 2 wrong usage, 10 a file differs.
set -eu
export LC_ALL=C

fail() {
    code=$1
    shift
    echo "error: $*" >&2
    exit "$code"
}

[ $# -eq 2 ] || { [ $# -eq 4 ] && [ "$3" = --store ]; } ||
    fail 2 "usage: vary.sh RELEASE COUNTERFOIL [--store DIR]"
release=$(cd "$1" && pwd) || fail 2 "there is no release $1"
[ -f "$release/launch.json" ] || fail 2 "$1 is not a release: it has no launch.json"
program=$(command -v "$2") || fail 2 "there is no program $2"
program=$(cd "$(dirname "$program")" && pwd)/$(basename "$program")
store=${4:-${XDG_CACHE_HOME:-$HOME/.cache}/counterfoil}
[ -d "$store" ] || fail 2 "there is no store $store"

scratch=$(mktemp -d "${TMPDIR:-/tmp}/vary-XXXXXX")
cleanup() { rm -rf "$scratch"; }
trap cleanup EXIT
trap 'exit 1' HUP INT TERM
# Another user has to come where the second build is.
chmod 0711 "$scratch"

varied="umask, time zone, locale, HOME, environment, directory and its depth, store"
unvaried=
vary() { varied="$varied, $1"; }
leave() { unvaried="$unvaried
not varied: $1 ($2)"; }

# Somewhere else, and deeper than usual; nothing there leads back to the release.
depth=a/much/deeper/directory/than/the/one/before
place="$scratch/$depth"
mkdir -p "$place/home"
cp "$release/manifest.yaml" "$release/lock.yaml" "$place/"
cp "$program" "$scratch/counterfoil"
# What the lock names, and what the store has noted of it: which archive unpacks to what, which recipe gave
# what. Digests are checked by the build, whoever copied the files.
mkdir "$scratch/store"
grep -o -E '[0-9a-f]{64}' "$release/lock.yaml" | sort -u >"$scratch/digests"
while read -r digest; do
    directory=objects/$(printf %.2s "$digest")
    for file in "$directory/$digest" "unpacked/$digest" "built/$digest"; do
        [ -f "$store/$file" ] || continue
        mkdir -p "$scratch/store/${file%/*}"
        cp "$store/$file" "$scratch/store/$file" || fail 1 "the store cannot be read"
    done
done <"$scratch/digests"

# What is told of the two environments is what the second one says itself, at the end.
ask='echo "$(id -u) $(hostname) $(nproc) $(umask) $(date +%z) $(sed -n "s/^ *\([^:]*\):.*/\1/p" /proc/net/dev | tr "\n" " ")"'
before=$(sh -c "$ask" 2>/dev/null || true)

# Works "$@", or says no: not every machine lets everybody make namespaces.
works() { "$@" true >/dev/null 2>&1; }

root=$(id -u)
enter=
other=1001
if [ "$root" -eq 0 ]; then
    user=
else
    # In a user namespace of one's own one may do the rest.
    user="--user --map-root-user"
fi
if works unshare $user --uts; then
    enter="unshare $user --uts"
    vary "host name"
else
    leave "host name" "no namespace for it"
fi
if works unshare $user --uts --net; then
    enter="unshare $user --uts --net"
    vary "network (there is none)"
else
    leave "network" "no namespace for it"
fi

drop=
if [ "$root" -eq 0 ]; then
    if works setpriv --reuid "$other" --regid "$other" --clear-groups; then
        drop="setpriv --reuid $other --regid $other --clear-groups"
        chown -R "$other:$other" "$scratch"/*
        vary "user ($root, then $other)"
    else
        leave "user" "no setpriv"
    fi
elif [ -n "$enter" ]; then
    vary "user ($root, then 0 of a namespace)"
else
    leave "user" "neither root nor a user namespace"
fi

narrow=
count=$(nproc)
if [ "$count" -gt 1 ]; then
    # The last of those that this process may use.
    allowed=$(sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' /proc/self/status)
    last=${allowed##*[,-]}
    if works taskset --cpu-list "$last"; then
        narrow="taskset --cpu-list $last"
        vary "CPUs ($count, then 1)"
    else
        leave "CPUs" "no taskset"
    fi
else
    leave "CPUs" "there is one"
fi

# A locale that exists: one that does not is C by another name.
locale=$(locale -a 2>/dev/null | grep -v -i -e '^C' -e '^POSIX' | head -n 1 || true)
if [ -z "$locale" ]; then
    locale=tr_TR.UTF-8
    leave "what a locale does to libraries" "this machine has none but C; its name was varied"
fi
leave "kernel, processor and file system" "that takes another machine"
leave "clock" "nothing here sets it"
if grep -q -w 'build:' "$release/lock.yaml"; then
    leave "compiling" "what is compiled from source is as the store has it; an empty store compiles it again"
fi

# Set inside: the host name is the new namespace's, and the rest must not be ours.
cat >"$scratch/again" <<'INNER'
set -eu
[ -z "$NAMED" ] || hostname another.example 2>/dev/null || echo unnamed >"$PLACE/unnamed"
umask 0077
cd "$PLACE"
exec $DROP env -i HOME="$PLACE/home" PATH=/usr/bin:/bin TZ=Pacific/Chatham LANG="$SAID" LC_ALL="$SAID" \
    SOURCE_DATE_EPOCH=1 USER=another LOGNAME=another TMPDIR="$PLACE/home" \
    sh -c "$ASK >told; exec \"\$@\"" sh \
    "$PROGRAM" build manifest.yaml --locked --offline --quiet --shuffle 31337 --store "$STORE" \
    --output rebuilt
INNER
if ! NAMED=$enter PLACE=$place DROP=$drop SAID=$locale ASK=$ask PROGRAM=$scratch/counterfoil \
    STORE=$scratch/store $narrow $enter sh "$scratch/again" >/dev/null 2>"$scratch/said"; then
    cat "$scratch/said" >&2
    fail 1 "the second build failed"
fi
[ ! -e "$place/unnamed" ] || leave "host name" "it cannot be set"

echo "then: user, host name, CPUs, umask, time zone, network"
echo "  first   $before"
echo "  second  $(cat "$place/told")"

# Every file of either, and nothing but files and directories.
files() { (cd "$1" && find . ! -type d | sort); }
files "$release" >"$scratch/first"
files "$place/rebuilt" >"$scratch/second"
differs=
while read -r file; do
    if [ ! -e "$place/rebuilt/$file" ]; then
        # Data of a volume that was made before are put beside its record by whoever has them.
        echo "not compared: $file is not part of a build" >&2
        case $file in ./image/volumes/*.img) ;; *) differs="$differs $file" ;; esac
    elif ! cmp "$release/$file" "$place/rebuilt/$file" >&2; then
        differs="$differs $file"
    fi
done <"$scratch/first"
while read -r file; do
    [ -e "$release/$file" ] || differs="$differs $file"
done <"$scratch/second"
echo "varied: $varied$unvaried"
[ -z "$differs" ] || fail 10 "these files differ:$differs"
echo "the same: all $(wc -l <"$scratch/second") files"
