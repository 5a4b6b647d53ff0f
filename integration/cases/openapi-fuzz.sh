# Schemathesis asks the API what its OpenAPI text promises, and what it does not: no failure of the server, every answer as described.
#: where: host
#: limit: 120
. "$LIB"
state=server/state
fuzz="$BIN/../tools/schemathesis/bin/st"
[ -x "$fuzz" ] || fail "there is no $fuzz: cargo xtask servers installs it"
curl -sf -H "Authorization: Bearer $(cat $state/api.token)" http://127.0.0.1:8460/api/v1/openapi.json >openapi.json

step "every request but the stream of events, for 50 seconds at most"
# Three requests say honestly that they cannot (501): that is an answer as described, and no failure.
checks=status_code_conformance,content_type_conformance,response_schema_conformance,response_headers_conformance
checks=$checks,negative_data_rejection,unsupported_method,allow_header_conformance,ignored_auth,not_a_server_error
# And a request whose If-Match does not hold is refused for that before its body is looked at (412).
cat >schemathesis.toml <<'END'
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", 501, 503, 507]
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 408, 409, 412, 413, 415, "5xx"]
END
timeout 100 "$fuzz" run openapi.json --url http://127.0.0.1:8460/api/v1 \
    -H "Authorization: Bearer $(cat $state/api.token)" --phases examples,coverage,fuzzing --checks $checks \
    --exclude-path /events --max-time 50 --seed 1 --no-color --generation-database none --warnings off

step "and it is as well as before"
"$BIN/vtl" --token-file $state/api.token --json cartridge ls >after
contains "cartridge ls" "$(cat after)" VTL
