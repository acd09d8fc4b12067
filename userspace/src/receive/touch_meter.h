// SPDX-License-Identifier: GPL-2.0-or-later
// Which pages of guest RAM the VM touches here: for telling how good the guide's guesses were.
#pragma once

#include "measure/touched.h"
#include "record/tracked_vm.h"

#include <string>
#include <vector>

namespace gc::receive {

/// Pages of guest RAM, numbered as those of a TrackedVm.
class TouchedSet {
  public:
    explicit TouchedSet(const std::vector<trace::Block>& blocks);

    /// Pages that do not exist are left out.
    void touch(std::uint64_t page, std::uint64_t count);
    /// The destination asked for the host page with this byte of a RAM block, which it does when
    /// somebody touches it: a vCPU, or QEMU. Blocks that are no guest RAM are left out.
    void ask(const std::string& block, std::uint64_t offset);

    [[nodiscard]] std::uint64_t touched() const { return touched_; }
    [[nodiscard]] std::uint64_t asked() const { return asked_; }
    /// In the order of pages, at most two of a block.
    [[nodiscard]] std::vector<measure::Touched> result() const;

  private:
    enum class State : std::uint8_t { untouched, touched, asked };
    struct Block {
        trace::Block block;
        std::uint64_t first;  ///< page of the numbering through all blocks
    };

    void mark(std::uint64_t page, State as);

    std::vector<Block> blocks_;
    std::vector<State> pages_;
    std::uint64_t touched_ = 0;
    std::uint64_t asked_ = 0;
};

class TouchMeter {
  public:
    /// Tracks the VM from now on; it has not run yet. Its log has room for all of its pages.
    /// Errors: those of record::TrackedVm::open().
    static Result<TouchMeter> start(qmp::Client& qmp);

    /// POLLHUP when the VM's process is gone.
    [[nodiscard]] int fd() { return vm_.track().fd(); }
    /// What was touched until now. Errors: io, protocol.
    Result<TouchedSet> touched();
    /// Faults of the VM until now that tell nothing of its pages, or were lost. Errors: io.
    Result<std::uint64_t> unresolved();

  private:
    explicit TouchMeter(record::TrackedVm vm) : vm_(std::move(vm)) {}

    record::TrackedVm vm_;
};

}  // namespace gc::receive
