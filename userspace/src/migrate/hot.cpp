// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/hot.h"

#include "record/recorder.h"
#include "trace/file.h"
#include "trace/hot_set.h"

#include <algorithm>
#include <thread>

namespace gc::migrate {
namespace {

using namespace std::chrono_literals;

/// Enough to tell pages in constant use from pages touched once.
constexpr int epochs = 4;
constexpr auto epoch_duration = 500ms;

transfer::WarmPages to_warm(const trace::Trace& trace) {
    transfer::WarmPages warm;
    for (const trace::Block& block : trace.header.blocks)
        warm.blocks.push_back(block.name);
    const auto hot = trace::hot_set(trace);
    warm.pages.reserve(hot.size());
    for (const trace::Place& page : hot)
        warm.pages.push_back({page.block, page.page});
    return warm;
}

}  // namespace

Result<transfer::WarmPages> hot_of_file(const std::string& path,
                                        std::span<const qmp::RamBlock> guest_ram) {
    GC_TRY(const trace::Trace trace, trace::read_trace(path));
    for (const trace::Block& block : trace.header.blocks) {
        const auto own = std::ranges::find(guest_ram, block.name, &qmp::RamBlock::name);
        if (own == guest_ram.end())
            return fail(ErrorKind::usage,
                        "{}: expected a trace of this VM, got one of a VM with the RAM block '{}'",
                        path, block.name);
        if (own->length != block.bytes)
            return fail(ErrorKind::usage,
                        "{}: expected a trace of this VM, whose RAM block '{}' has {} bytes, got "
                        "one with {} bytes",
                        path, block.name, own->length, block.bytes);
    }
    return to_warm(trace);
}

Result<transfer::WarmPages> hot_of_vm(qmp::Client& client) {
    GC_TRY(record::TrackedVm vm, record::TrackedVm::open(client, capture::TrackMode::age));
    trace::Trace trace{{trace::Mode::age, 0, vm.blocks()}, {}};
    record::Recorder recorder(vm);
    for (int i = 0; i < epochs; ++i) {
        std::this_thread::sleep_for(epoch_duration);
        GC_TRY(trace::Epoch epoch, recorder.end_epoch());
        trace.epochs.push_back(std::move(epoch));
    }
    return to_warm(trace);
}

}  // namespace gc::migrate
