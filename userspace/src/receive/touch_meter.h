// SPDX-License-Identifier: GPL-2.0-or-later
// Which pages of guest RAM the VM touches at the destination, to measure how good its guide was.
#pragma once

#include "measure/touched.h"
#include "record/tracked_vm.h"

#include <string>
#include <vector>

namespace gc::receive {

/// Pages of guest RAM, numbered as in TrackedVm.
class TouchedSet {
  public:
    explicit TouchedSet(const std::vector<trace::Block>& blocks);

    /// Ignores pages that do not exist.
    void touch(std::uint64_t page, std::uint64_t count);
    /// The destination requested the host page with this byte of a RAM block, because a vCPU or
    /// QEMU touched it. Ignores blocks that are not guest RAM.
    void ask(const std::string& block, std::uint64_t offset);

    [[nodiscard]] std::uint64_t touched() const { return touched_; }
    [[nodiscard]] std::uint64_t asked() const { return asked_; }
    /// In page order, with at most two entries for each block.
    [[nodiscard]] std::vector<measure::Touched> result() const;

  private:
    enum class State : std::uint8_t { untouched, touched, asked };
    struct Block {
        trace::Block block;
        std::uint64_t first;  ///< number of its first page, counted over all blocks
    };

    void mark(std::uint64_t page, State as);

    std::vector<Block> blocks_;
    std::vector<State> pages_;
    std::uint64_t touched_ = 0;
    std::uint64_t asked_ = 0;
};

class TouchMeter {
  public:
    /// Tracks the VM from now on, before it has run. The log has room for all of its pages.
    /// Errors: those of record::TrackedVm::open().
    static Result<TouchMeter> start(qmp::Client& qmp);

    /// Reports POLLHUP when the VM's process is gone.
    [[nodiscard]] int fd() { return vm_.track().fd(); }
    /// The pages touched so far. Errors: io, protocol.
    Result<TouchedSet> touched();
    /// Faults of the VM so far that could not be assigned to a page, or were lost. Errors: io.
    Result<std::uint64_t> unresolved();

  private:
    explicit TouchMeter(record::TrackedVm vm) : vm_(std::move(vm)) {}

    record::TrackedVm vm_;
};

}  // namespace gc::receive
