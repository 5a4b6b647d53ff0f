# libiscsi's conformance program on the diagnostic disk: every test of the table passes, every skip has its reason.
#: where: host
#: arg: --set iscsi.diagnostic_disk=64m
#: limit: 800
. "$LIB"
url="iscsi://$PORTAL/iqn.2026-11.internal.vtl:diag/0"
wrong=0 passed=0 skipped=0
while read -r verdict test reason; do
    case $verdict in '' | '#'*) continue ;; esac
    status=0
    output=$(timeout 60 iscsi-test-cu -d -f -t "$test" "$url" 2>&1) || status=$?
    # Exactly one test must have run; a name that the program does not know runs none.
    # A row with two names is a suite, whose tests lean on each other (LUNResetSimpleAsync reads a variable that AbortTaskSimpleAsync sets).
    case $test in
        *.*.*) matched=$(grep -Ec "^ *Test: ${test##*.} \.\.\." <<<"$output" || true) ;;
        *) matched=$(grep -Ec "^Suite: ${test##*.}" <<<"$output" || true) ;;
    esac
    if [ "$matched" -ne 1 ]; then
        outcome="did not run"
    elif grep -q '\[SKIPPED\]' <<<"$output"; then
        outcome=skip
    elif [ $status -eq 0 ] && ! grep -Eq '\.\.\. *FAILED|^FAILED' <<<"$output" && grep -q 'passed' <<<"$output"; then
        outcome=pass
    else
        outcome="failed (status $status)"
    fi
    if [ "$outcome" = "$verdict" ] && { [ "$verdict" = pass ] || [ -n "$reason" ]; }; then
        case $outcome in pass) passed=$((passed + 1)) ;; *) skipped=$((skipped + 1)) ;; esac
    else
        wrong=$((wrong + 1))
        echo "WRONG $test: the table says '$verdict', it is '$outcome'"
        grep -vE '^ *$|CUnit|cunit' <<<"$output" | sed -n 1,25p
    fi
done <"$DATA/iscsi-test-cu.txt"
echo "iscsi-test-cu: $passed passed, $skipped skipped with a reason, $wrong wrong"
[ $passed -ge 40 ] || fail "only $passed tests passed"
[ $wrong -eq 0 ] || fail "$wrong tests are not what the table says"
