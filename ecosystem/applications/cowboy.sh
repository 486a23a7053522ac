# ranch and cowboy: a small application with every kind of body, over HTTP/1.1, HTTP/2,
# websockets and TLS. Of Debian's packages where they are, else those of RabbitMQ.
# Packages: erlang-cowboy|rabbitmq-server apache2-utils wrk curl openssl

. /ecosystem/common.sh

libraries="$(dirname "$(find /usr/lib/erlang/lib /usr/lib/rabbitmq/lib -path '*/cowboy-*/ebin/cowboy.app' | head -n 1)")/../.."
data=/tmp/cowboy
mkdir -p "$data/files"
certificate "$data"
bytes 50000000 >"$data/files/large"
bytes 2000 >"$data/files/small"
md5="$(md5sum <"$data/files/large" | cut -d' ' -f 1)"

start_node erl -noinput -sname cowboy -pa "$libraries"/ranch-*/ebin "$libraries"/cowlib-*/ebin \
    "$libraries"/cowboy-*/ebin -s ecosystem_cowboy start -extra "$data" "$data/files" 8080 8443
wait_for_port 8080 8443
load_begins

bench keep-alive -k -n 20000 -c 50 http://127.0.0.1:8080/hello
bench one-request -n 3000 -c 50 http://127.0.0.1:8080/hello
bench file -k -n 5000 -c 20 http://127.0.0.1:8080/files/small
bench tls -k -n 2000 -c 20 https://127.0.0.1:8443/hello
bench post -k -n 3000 -c 20 -p "$data/files/small" -T application/octet-stream http://127.0.0.1:8080/digest

# Pipelined, as fast as it goes for two seconds: no count, but no error either.
printf '%s\n' 'init = function(args) local r = {} for i = 1, 16 do r[i] = wrk.format("GET", "/hello") end' \
    'all = table.concat(r) end' 'request = function() return all end' >"$data/pipeline.lua"
wrk -t 2 -c 40 -d 2 -s "$data/pipeline.lua" http://127.0.0.1:8080/hello >"$RESULTS/wrk.pipeline"
expect "pipelined errors" "$(grep -Ec 'Socket errors|Non-2xx' "$RESULTS/wrk.pipeline")" 0

for scheme in http://127.0.0.1:8080 https://localhost:8443; do
    get() { curl -sS --fail --max-time 60 --cacert "$data/certificate.pem" "$@"; }
    name="${scheme%%:*}"
    expect "$name download" "$(get "$scheme/files/large" | md5sum | cut -d' ' -f 1)" "$md5"
    expect "$name upload" "$(get -T "$data/files/large" "$scheme/digest")" "50000000 $md5"
    expect "$name chunked upload" \
        "$(get -H 'Transfer-Encoding: chunked' -T - "$scheme/digest" <"$data/files/large")" "50000000 $md5"
    count "$name chunked bytes" "$(get "$scheme/chunked" | wc -c)"
    count "$name range" "$(get -r 1000000-1999999 "$scheme/files/large" | md5sum)"
    http2=--http2
    [ "$name" = https ] || http2=--http2-prior-knowledge
    expect "$name h2 version" "$(get $http2 -o /dev/null -w '%{http_version}' "$scheme/hello")" 2
    expect "$name h2 download" "$(get $http2 "$scheme/files/large" | md5sum | cut -d' ' -f 1)" "$md5"
    expect "$name h2 upload" "$(get $http2 -T "$data/files/large" "$scheme/digest")" "50000000 $md5"
    # curl 7.88 takes part in this with TLS only.
    [ "$name" = http ] || expect "$name h2 parallel" \
        "$(get $http2 -Z --parallel-max 50 "$scheme/files/small?[1-200]" | wc -c)" 400000
done

abandon http://127.0.0.1:8080/files/large
count "websocket frames, bytes" "$(python3 /ecosystem/clients/websocket.py 8080 /websocket 500 10)"

# cowboy 2.8 forgets to activate a socket again if it made it passive in a body whose end was
# in its mailbox already; such a connection ends with idle_timeout, a minute.
load_ends 90
stop_node
