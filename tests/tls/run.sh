#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Runs the unit tests of TLS inside the lab, as root, on a kernel that encrypts.
# Usage: run.sh TLS_TEST [GTEST-ARGUMENTS...]
set -u
# The lab's kernel cannot load modules by itself (scripts/lab): also those of the ciphers, which a host loads on demand.
modprobe -a tls gcm ctr ghash_generic aes_generic chacha20poly1305 chacha_generic poly1305_generic || exit
ip link set lo up || exit
GC_REQUIRE_KERNEL_TLS=1 exec timeout 250 "$@"
