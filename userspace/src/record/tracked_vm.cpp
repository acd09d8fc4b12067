// SPDX-License-Identifier: GPL-2.0-or-later
#include "record/tracked_vm.h"

#include "qmp/ram_blocks.h"
#include "util/whole_file.h"

namespace gc::record {
namespace {

/// KVM's older MMU maps up to eight pages per fault, of which only one would be recorded
/// (direct_pte_prefetch(), arch/x86/kvm/mmu/mmu.c, 6.1 and 6.12).
Result<void> check_faults_are_of_one_page() {
    constexpr const char* parameter = "/sys/module/kvm/parameters/tdp_mmu";
    const auto text = read_whole_file(parameter);
    if (text && text->starts_with('N'))
        return fail(ErrorKind::unsupported,
                    "{}: expected Y, found N: one fault may map eight pages, so that first touches "
                    "are missed; load kvm with tdp_mmu=Y, or record with --mode age",
                    parameter);
    return {};
}

}  // namespace

Result<TrackedVm> TrackedVm::open(qmp::Client& client, capture::TrackMode mode) {
    GC_TRY(const pid_t pid, client.peer_pid());
    // Take the VM before inspecting memory, so that both belong to the same process.
    GC_TRY(const UniqueFd vm, capture::vm_of_process(pid));
    if (mode == capture::TrackMode::order)
        GC_CHECK(check_faults_are_of_one_page());
    GC_TRY(const auto ram, qmp::ram_blocks(client, pid));
    std::vector<trace::Block> blocks;
    std::vector<capture::AddressRange> ranges;
    for (const qmp::RamBlock& block : ram) {
        if (!block.is_guest_ram() || block.hva == 0)
            continue;
        blocks.push_back({block.name, block.length, block.page_size});
        ranges.push_back({block.hva, block.length});
    }
    if (blocks.empty())
        return fail(ErrorKind::protocol,
                    "expected RAM blocks of the guest in the QEMU of process {}, found none", pid);
    GC_TRY(capture::Track track, capture::Track::create(vm.get(), mode, ranges));
    return TrackedVm(pid, mode, std::move(blocks), std::move(track));
}

}  // namespace gc::record
