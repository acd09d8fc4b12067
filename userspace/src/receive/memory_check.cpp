// SPDX-License-Identifier: GPL-2.0-or-later
#include "receive/memory_check.h"

#include "qmp/qemu_process.h"
#include "qmp/ram_blocks.h"
#include "util/process_memory.h"

#include <algorithm>
#include <unistd.h>

namespace gc::receive {
namespace {

constexpr const char* override_it = "or give gcctl receive --allow-overcommit";

std::uint64_t mib(std::uint64_t bytes) {
    return bytes >> 20;
}

Result<std::uint64_t> ram_of(qmp::Client& qmp) {
    GC_TRY(const auto blocks, qmp::ram_block_lines(qmp));
    const auto page_size = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
    std::uint64_t bytes = 0;
    for (const qmp::RamBlockLine& block : blocks)
        if (block.page_size <= page_size)
            bytes += block.used_length;
    return bytes;
}

}  // namespace

Result<void> check_memory(const MemoryNeed& need) {
    const std::uint64_t more = need.ram - std::min(need.ram, need.resident);
    if (need.cgroup && need.cgroup->bytes < more)
        return fail(ErrorKind::unsupported,
                    "too little memory for the VM: the destination QEMU needs {} MiB more, its "
                    "cgroup {} leaves it {} MiB; raise the cgroup's limit, {}",
                    mib(more), need.cgroup->directory, mib(need.cgroup->bytes), override_it);
    if (need.available < more)
        return fail(ErrorKind::unsupported,
                    "too little memory for the VM: the destination QEMU needs {} MiB more, this "
                    "host has {} MiB (MemAvailable); free some, {}",
                    mib(more), mib(need.available), override_it);
    return {};
}

Result<void> check_memory(qmp::Client& qmp) {
    GC_TRY(const auto process, qmp::QemuProcess::open(qmp));
    if (!process)
        return {};  // a manager's socket: QEMU's process is unknown
    GC_TRY(const pid_t pid, qmp.peer_pid());
    MemoryNeed need;
    GC_TRY(need.ram, ram_of(qmp));
    GC_TRY(const std::uint64_t resident, resident_private(pid));
    GC_TRY(const std::uint64_t shared,
           proc_bytes(fmt::format("/proc/{}/status", pid), "RssShmem:"));
    need.resident = resident + shared;
    GC_TRY(need.available, proc_bytes("/proc/meminfo", "MemAvailable:"));
    GC_TRY(need.cgroup, memory_room(pid));
    return check_memory(need);
}

}  // namespace gc::receive
