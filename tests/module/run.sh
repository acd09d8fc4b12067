#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Runs the tests of the module, inside the lab, as root.
# Usage: run.sh GUIDECOPY.KO MODULE_TEST [GTEST-ARGUMENTS...]
set -u
ko=$1 tests=$2
shift 2
failed=0
fail() { echo "FAILED: $*"; failed=1; }

begin="guidecopy: module tests begin $$"
echo "$begin" >/dev/kmsg
insmod "$ko" || { echo "FAILED: insmod $ko"; dmesg; exit 1; }
timeout 1400 "$tests" "$@"
status=$?
[ $status = 0 ] || fail "module_test: exit status $status"

# What nobody points to any more, where the kernel can tell. It takes two scans, since what has changed since the last one
# counts as in use, and waits with what is younger than five seconds.
leaks=/sys/kernel/debug/kmemleak
if [ -e $leaks ]; then
    echo scan >$leaks
    sleep 6
    echo scan >$leaks
    grep -q guidecopy $leaks && { fail "the module leaked memory"; cat $leaks; }
fi

# Neither an open session, nor an open node, nor a mapping alone lets the module go.
[ "$(cat /sys/module/guidecopy/refcnt)" = 0 ] || fail "references left after the tests"
for held in control node mapping; do
    fifo=$(mktemp -u)
    mkfifo "$fifo"
    "$tests" --hold="$held" >"$fifo" &
    holder=$!
    read -r -t 20 line <"$fifo"
    [ "${line:-}" = holding ] || fail "could not hold a $held"
    rmmod guidecopy 2>/dev/null && fail "module unloaded while a $held was in use"
    kill "$holder"
    wait "$holder" 2>/dev/null
    rm -f "$fifo"
done
rmmod guidecopy || fail "module does not unload after use"
{ insmod "$ko" && rmmod guidecopy; } || fail "module does not load and unload a second time"

if dmesg | sed "1,/$begin/d" | grep -E 'WARNING|BUG|Oops|INFO:|RIP:|Call Trace|general protection|refcount'; then
    fail "the kernel complained"
    dmesg | tail -100
fi
[ $failed = 0 ] && echo "PASSED: module tests on $(uname -r)"
exit $failed
