// SPDX-License-Identifier: GPL-2.0-or-later
// Preloaded into a guide that captures by userfaultfd, where userfaultfd(2) takes CAP_SYS_PTRACE
// (vm.unprivileged_userfaultfd=0). A guide has no capabilities, so it makes its userfaultfd by the
// device instead, of which gcctl gives it a descriptor. QEMU does so by itself since 8.0, but only
// where its user may open /dev/userfaultfd.
//
// QEMU calls userfaultfd(2) by syscall(3) (uffd_open() and postcopy_ram_supported_by_host(), 7.2 to
// 11). This file links with nothing, so that it suits every libc.

#include "guide/userfault_fds.h"

#include <linux/ioctl.h>
#include <linux/userfaultfd.h>
#include <sys/syscall.h>

extern int* __errno_location(void);

static long enter(long number, long a, long b, long c, long d, long e, long f) {
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

// The C library's function is variadic. On x86-64 that makes no difference to a callee that takes
// integers.
long syscall(long number, long a, long b, long c, long d, long e, long f) {
    long result;
    if (number == SYS_userfaultfd)
        result = enter(SYS_ioctl, GC_USERFAULT_DEVICE_FD, USERFAULTFD_IOC_NEW, a, 0, 0, 0);
    else
        result = enter(number, a, b, c, d, e, f);
    if (result < 0 && result >= -4095) {
        *__errno_location() = (int)-result;
        return -1;
    }
    return result;
}
