// SPDX-License-Identifier: GPL-2.0-or-later
// pidfd_open(2), pidfd_getfd(2) and pidfd_send_signal(2). glibc 2.36 declares them without extern
// "C".
#pragma once

extern "C" {
#include <sys/pidfd.h>
}
