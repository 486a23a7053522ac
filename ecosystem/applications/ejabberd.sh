# ejabberd, with slixmpp as its users: STARTTLS, messages, a room, connections that break.
# Packages: ejabberd python3-slixmpp curl openssl

. /ecosystem/common.sh

data=/tmp/ejabberd
mkdir -p "$data/spool" "$data/logs"
certificate "$data"
cat >"$data/ejabberd.yml" <<YML
hosts: [localhost]
loglevel: 4
certfiles: ["$data/both.pem"]
ca_file: "$data/certificate.pem"
auth_password_format: plain
listen:
  - {port: 5222, ip: "127.0.0.1", module: ejabberd_c2s, max_stanza_size: 262144, starttls_required: true}
  - {port: 5280, ip: "127.0.0.1", module: ejabberd_http, request_handlers: {/api: mod_http_api}}
shaper_rules:
  max_user_sessions: 10
  max_user_offline_messages: 5000
acl:
  local: {user_regexp: ""}
  loopback: {ip: [127.0.0.0/8]}
access_rules:
  local: {allow: local}
api_permissions:
  "from here":
    from: [mod_http_api]
    who: {acl: loopback}
    what: "*"
modules:
  mod_disco: {}
  mod_http_api: {}
  mod_ping: {}
  mod_roster: {}
  mod_muc: {history_size: 0, min_message_interval: 0, min_presence_interval: 0}
YML
cp /etc/ejabberd/inetrc "$data/inetrc"
: >"$data/ejabberdctl.cfg"
chown -R ejabberd "$data"

# A name is not needed; without one there is no distribution and no epmd.
start_node setpriv --reuid=ejabberd --regid=ejabberd --clear-groups env HOME="$data" \
    EJABBERD_CONFIG_PATH="$data/ejabberd.yml" EJABBERD_LOG_PATH="$data/logs/ejabberd.log" \
    ERL_LIBS=/usr/lib/x86_64-linux-gnu ERL_INETRC="$data/inetrc" \
    erl -noinput -sname ejabberd@localhost -mnesia dir "\"$data/spool\"" -s ejabberd
wait_for_port 5222 5280

users=20
for user in $(seq 0 $((users - 1))); do
    curl -sS --fail -X POST http://127.0.0.1:5280/api/register \
        -H 'Content-Type: application/json' \
        -d "{\"user\": \"user$user\", \"host\": \"localhost\", \"password\": \"secret\"}" >/dev/null ||
        fail "user$user was not registered"
done
load_begins
timeout 250 python3 /ecosystem/clients/xmpp.py 5222 "$data/certificate.pem" "$users" 200 \
    >"$RESULTS/client.counts" 2>"$RESULTS/client.log" || fail "the client failed; see client.log"
cat "$RESULTS/client.counts" >>"$RESULTS/counts"
load_ends 40
stop_node
