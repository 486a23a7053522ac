#!/bin/sh
# valgrind's memcheck on a node that uses the library: fails if something read or written
# after it was freed or beyond its end, freed twice, or lost for good, has the library in
# its stack. What the VM does by itself is not looked at.
set -eu
cd "$(dirname "$0")/../.."

if ! command -v valgrind >/dev/null 2>&1; then
    echo "memcheck: left out: valgrind is not installed"
    exit 0
fi
work=_build/memcheck
mkdir -p "$work"
erlc -Werror -o "$work" support/sound/memcheck_run.erl

arguments="$(erl -emu_args_exit -noinput +MBe false +MRe false +S 1:1 +SDcpu 1:1 +SDio 1 +A 1 -pa "$work" \
    -pa _build/default/lib/gen_tcp_rs/ebin -s memcheck_run main)"
root="$(erl -noshell -eval 'io:put_chars(code:root_dir()), halt().')"
ROOTDIR="$root"
BINDIR="$(echo "$root"/erts-*/bin)"
EMU=beam
PROGNAME=erl
export ROOTDIR BINDIR EMU PROGNAME

# One argument a line.
old_ifs="$IFS"
IFS='
'
set -f
# shellcheck disable=SC2086
set -- $arguments
set +f
IFS="$old_ifs"
status=0
timeout -k 10 "${MEMCHECK_SECONDS:-300}" valgrind --tool=memcheck --smc-check=all --leak-check=full \
    --show-leak-kinds=definite --num-callers=30 --undef-value-errors=no --error-limit=no \
    --log-file="$work/log" "$BINDIR/beam.smp" "$@" >"$work/output" 2>&1 || status=$?
if [ "$status" != 0 ] || ! grep -q '^done' "$work/output"; then
    tail -n 20 "$work/output" "$work/log"
    echo "memcheck: the run failed with status $status"
    exit 1
fi

# A record is a block of lines between lines without text. The VM's code moves the stack
# pointer over its processes' heaps, and memcheck takes what lies beyond it for free: what
# is `inside a block` that is allocated is not counted. Binaries and resources, which the
# library holds, are blocks of their own here.
findings="$(awk -v RS='==[0-9]+== *\n' -v ORS='\n' \
    '/gen_tcp_rs|net::|proto::|rustler::/ && / (at|by) 0x/ && !/inside a block of size [0-9,]+ alloc/' "$work/log")"
if [ -n "$findings" ]; then
    echo "$findings"
    echo "memcheck: the library has errors"
    exit 1
fi
echo "memcheck: nothing found in the library"
