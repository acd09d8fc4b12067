// SPDX-License-Identifier: GPL-2.0-or-later
// pidfd_open(2), pidfd_getfd(2) and pidfd_send_signal(2), which glibc 2.36 forgets that C++ may
// use.
#pragma once

extern "C" {
#include <sys/pidfd.h>
}
