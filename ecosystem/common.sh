# What the applications' scripts share. Sourced inside the layer, with
#   BACKEND   inet or rs
#   RESULTS   the directory for what this run writes
# A script ends with the status 0 if the load went through; what it counted is compared by
# the caller. Everything that has to be equal on both backends is a count.

set -eu
LC_ALL=C.UTF-8
export LC_ALL
ulimit -n 16384

fail() {
    echo "$*" >&2
    exit 1
}

# count NAME VALUE: a result, the same on inet and on rs or the comparison fails.
count() { printf '%s\t%s\n' "$1" "$2" >>"$RESULTS/counts"; }
# expect NAME VALUE EXPECTED: a count that is also known beforehand.
expect() {
    count "$1" "$2"
    [ "$2" = "$3" ] || fail "$1: $2 instead of $3"
}

# The environment that puts a node on the backend under test; its command line stays what
# the application's own start script makes of it. The probe loads and checks the backend
# before anything else is started, and from then on writes what sockets the node has.
node_environment() {
    export ECOSYSTEM_BACKEND="$BACKEND" ECOSYSTEM_PROBE="$RESULTS/sockets"
    ERL_AFLAGS="-pa /exchange/modules -run ecosystem_probe start"
    [ "$BACKEND" = inet ] ||
        ERL_AFLAGS="-pa /exchange/gen_tcp_rs/ebin -kernel inet_backend rs $ERL_AFLAGS"
    export ERL_AFLAGS
}
plain_environment() { unset ERL_AFLAGS ECOSYSTEM_BACKEND ECOSYSTEM_PROBE; }

# start_node COMMAND...: in the background, on the backend under test.
start_node() {
    node_environment
    # The user the server runs as writes there.
    rm -f "$RESULTS/sockets"
    chmod 777 "$RESULTS"
    "$@" >"$RESULTS/node.log" 2>&1 &
    node=$!
    plain_environment
}

# within SECONDS COMMAND...: until the command succeeds.
within() {
    tries=$(($1 * 10))
    shift
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || return 1
        sleep 0.1
    done
}

listens() { [ -n "$(ss -Hltn "sport = :$1")" ]; }
wait_for_port() {
    for port in "$@"; do
        within 60 listens "$port" || fail "nothing listens on port $port; see node.log"
    done
}

# The node's sockets now, by the probe: "rs 3 inet 0 peak_rs 51 peak_inet 0".
sockets() { cat "$RESULTS/sockets" 2>/dev/null || true; }
current() { sockets | awk -v name="$BACKEND" '{ for (i = 1; i < NF; i += 2) if ($i == name) print $(i + 1) }'; }
unchanged() { [ "$(current)" = "$before" ]; }

# load_begins, load_ends: around what the clients do. Afterwards the node has to have as
# many sockets as before.
load_begins() {
    touch "$RESULTS/begin"
    # One look may have begun before.
    for look in 1 2; do
        within 10 test "$RESULTS/sockets" -nt "$RESULTS/begin" ||
            fail "the probe does not write; see node.log"
        touch "$RESULTS/begin"
    done
    before="$(current)"
}
load_ends() {
    within "${1:-20}" unchanged || {
        # For whoever looks into it: what they are, and where their owners are.
        ss -tnpo >"$RESULTS/left.ss"
        : >"$RESULTS/describe"
        within 5 test -s "$RESULTS/left.sockets" || true
    }
    expect "sockets left" "$(($(current) - before))" 0
}

# stop_node: as an operator does; a node that crashed or hangs is a failure.
stop_node() {
    pkill -TERM -x beam.smp || fail "the node is gone; see node.log"
    within 60 sh -c '! pgrep -x beam.smp' || fail "the node did not end in a minute"
    wait "$node" || fail "the node ended with status $?; see node.log"
}

certificate() {
    openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost \
        -addext subjectAltName=DNS:localhost \
        -keyout "$1/key.pem" -out "$1/certificate.pem" 2>"$1/openssl.log"
    cat "$1/certificate.pem" "$1/key.pem" >"$1/both.pem"
    chmod 644 "$1"/*.pem
}

# bytes N: N bytes that are the same in every run.
bytes() { openssl enc -aes-128-ctr -K 0 -iv 0 -nosalt -in /dev/zero 2>/dev/null | head -c "$1"; }

# bench NAME ARGUMENT...: ab, whose counts are results.
bench() {
    name="$1"
    shift
    ab -q "$@" >"$RESULTS/ab.$name" 2>&1 || fail "ab $name failed; see ab.$name"
    number() { awk -F: -v line="$1" '$1 == line { gsub(/[^0-9]/, "", $2); n = $2 } END { print n + 0 }' "$RESULTS/ab.$name"; }
    count "$name requests" "$(number 'Complete requests')"
    count "$name body bytes" "$(number 'HTML transferred')"
    expect "$name failed" "$(number 'Failed requests')" 0
    expect "$name non-2xx" "$(number 'Non-2xx responses')" 0
}

# abandon URL: a hundred clients that go away in the middle of a body.
abandon() {
    abandoned="$(seq 10000 10000 1000000 |
        xargs -P 20 -I{} sh -c 'curl -sS "$1" 2>/dev/null | head -c "$2" | wc -c' sh "$1" {} |
        awk '{ sum += $1 } END { print sum }')"
    expect "abandoned, bytes" "$abandoned" 50500000
}

# run_client MODULE FLAG...: a client in Erlang, on the backend under test; in the end its
# node has no socket left.
run_client() {
    module="$1"
    shift
    start_node erl -noinput -sname client "$@" -s "$module" start
    before=0
    finished() { [ -e "$RESULTS/done" ] || ! kill -0 "$node" 2>/dev/null; }
    within 300 finished || fail "the client did not finish; see node.log"
    [ -e "$RESULTS/done" ] || fail "the client crashed; see node.log"
    load_ends
    stop_node
}
