// SPDX-License-Identifier: GPL-2.0-or-later
#include "guide/userfault.h"

#include "guide/userfault_fds.h"
#include "util/whole_file.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>

__asm__(".section .rodata\n"
        "gc_userfault_shim_begin:\n"
        ".incbin \"" GC_USERFAULT_SHIM "\"\n"
        "gc_userfault_shim_end:\n"
        ".previous\n");
extern "C" {
extern const std::byte gc_userfault_shim_begin[];
extern const std::byte gc_userfault_shim_end[];
}

namespace gc::guide {
namespace {

constexpr const char* device = "/dev/userfaultfd";

Result<UniqueFd> make_shim() {
    UniqueFd shim(::memfd_create("guidecopy-userfault", MFD_CLOEXEC));
    if (!shim)
        return fail_errno(errno, "memfd_create");
    GC_CHECK(write_all(shim.get(), std::span(gc_userfault_shim_begin, gc_userfault_shim_end)));
    return shim;
}

}  // namespace

Result<Userfault> Userfault::open() {
    Userfault userfault;
    const auto unprivileged = read_whole_file("/proc/sys/vm/unprivileged_userfaultfd");
    if (!unprivileged)
        return fail(ErrorKind::unsupported,
                    "the kernel has no userfaultfd; use one with CONFIG_USERFAULTFD");
    if (unprivileged->starts_with('1'))
        return userfault;
    userfault.device_ = UniqueFd(::open(device, O_RDWR | O_CLOEXEC));
    if (!userfault.device_)
        return fail(ErrorKind::unsupported,
                    "{}: {}; run gcctl as root, or sysctl -w vm.unprivileged_userfaultfd=1", device,
                    std::strerror(errno));
    GC_TRY(userfault.shim_, make_shim());
    return userfault;
}

void Userfault::give(SpawnOptions& options) const {
    if (!device_)
        return;
    options.inherited.push_back({device_.get(), GC_USERFAULT_DEVICE_FD});
    options.inherited.push_back({shim_.get(), GC_USERFAULT_SHIM_FD});
    options.environment.push_back(fmt::format("LD_PRELOAD=/proc/self/fd/{}", GC_USERFAULT_SHIM_FD));
}

}  // namespace gc::guide
