# yaws: files, pages in Erlang, uploads, TLS.
# Packages: yaws apache2-utils curl openssl

. /ecosystem/common.sh

data=/tmp/yaws
mkdir -p "$data/files" "$data/logs"
certificate "$data"
bytes 50000000 >"$data/files/large.bin"
bytes 2000 >"$data/files/small.bin"
md5="$(md5sum <"$data/files/large.bin" | cut -d' ' -f 1)"

cat >"$data/files/hello.yaws" <<'PAGE'
<erl>
out(Arg) -> {html, ["Hello, ", element(2, yaws_api:queryvar(Arg, "name"))]}.
</erl>
PAGE
# An upload comes in pieces, which yaws hands over one by one.
cat >"$data/files/digest.yaws" <<'PAGE'
<erl>
out(Arg) ->
    {Size, Context} = case Arg#arg.state of undefined -> {0, erlang:md5_init()}; State -> State end,
    case Arg#arg.clidata of
        {partial, Data} -> {get_more, undefined, {Size + size(Data), erlang:md5_update(Context, Data)}};
        Data when is_binary(Data) ->
            Md5 = erlang:md5_final(erlang:md5_update(Context, Data)),
            {content, "text/plain", io_lib:format("~b ~s~n", [Size + size(Data),
                                                    string:lowercase(binary:encode_hex(Md5))])}
    end.
</erl>
PAGE
# A body whose length is not known beforehand.
cat >"$data/files/chunked.yaws" <<'PAGE'
<erl>
out(_) ->
    Self = self(),
    spawn(fun() ->
        Piece = binary:copy(<<"0123456789abcdef">>, 4096),
        [yaws_api:stream_chunk_deliver_blocking(Self, Piece) || _ <- lists:seq(1, 160)],
        yaws_api:stream_chunk_end(Self)
    end),
    {streamcontent, "application/octet-stream", <<>>}.
</erl>
PAGE
server() {
    echo "<server localhost>"
    printf '  %s\n' "port = $1" "listen = 127.0.0.1" "docroot = $data/files" "partial_post_size = 100000" \
        "access_log = false" "allowed_scripts = yaws"
    [ "$1" = 8080 ] || printf '  %s\n' "<ssl>" "keyfile = $data/key.pem" "certfile = $data/certificate.pem" "</ssl>"
    echo "</server>"
}
{
    printf '%s\n' "logdir = $data/logs" "max_connections = nolimit" "keepalive_maxuses = nolimit" \
        "keepalive_timeout = 30000" "fail_on_bind_err = true"
    server 8080
    server 8443
} >"$data/yaws.conf"

# What `yaws --daemon` starts, in the foreground.
yaws="$(dirname "$(find /usr/lib -path '*yaws*/ebin/yaws.beam' | head -n 1)")"
start_node erl -noinput -pa "$yaws" -sname yaws -conf "$data/yaws.conf" -run yaws -yaws id default
wait_for_port 8080 8443
load_begins

bench keep-alive -k -n 10000 -c 50 "http://127.0.0.1:8080/hello.yaws?name=world"
bench one-request -n 2000 -c 50 "http://127.0.0.1:8080/hello.yaws?name=world"
bench file -k -n 5000 -c 20 http://127.0.0.1:8080/small.bin
bench tls -k -n 2000 -c 20 "https://127.0.0.1:8443/hello.yaws?name=world"

for scheme in http://127.0.0.1:8080 https://localhost:8443; do
    get() { curl -sS --fail --max-time 60 --cacert "$data/certificate.pem" "$@"; }
    name="${scheme%%:*}"
    # With sendfile where there is no TLS.
    expect "$name download" "$(get "$scheme/large.bin" | md5sum | cut -d' ' -f 1)" "$md5"
    expect "$name upload" \
        "$(get -X POST -H 'Content-Type: application/octet-stream' -T "$data/files/large.bin" "$scheme/digest.yaws")" \
        "50000000 $md5"
    count "$name chunked" "$(get "$scheme/chunked.yaws" | md5sum)"
    count "$name range" "$(get -r 1000000-1999999 "$scheme/large.bin" | md5sum)"
done
abandon http://127.0.0.1:8080/large.bin

load_ends 40
stop_node
