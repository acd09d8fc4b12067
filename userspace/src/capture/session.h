// SPDX-License-Identifier: GPL-2.0-or-later
// Capture of the guide's memory by guidecopy.ko: a session on a shared memory file or on a
// process's memory, and its memory node.
#pragma once

#include "capture/control.h"

namespace gc::capture {

class Session final : public RecordSource {
  public:
    /// The number of entries in a ring of 2 MiB. It lets the guide run ahead by 256 MiB of memory.
    static constexpr std::uint32_t default_ring_entries = 1U << 16;

    /// Checks that the module is loaded and that this process may use it. Errors: unsupported, with
    /// the command that fixes it.
    static Result<void> probe();

    /// Creates a session on `length` bytes of the file from `offset` on, both multiples of 4 KiB.
    /// The descriptor may be closed afterwards. The session ends with this object.
    /// @param ring_entries power of two; the maximum number of unread records
    /// Errors: unsupported, if the module is not loaded or rejects the file; otherwise io.
    static Result<Session> create(int backing_fd, std::uint64_t offset, std::uint64_t length,
                                  std::uint32_t ring_entries = default_ring_entries);

    /// Creates a session on the memory of a process, whatever its backing. Pages are copied as they
    /// are touched. The caller must check afterwards that `pid` still names the intended process.
    /// @param address multiple of 4 KiB
    static Result<Session> create_over_process(pid_t pid, std::uint64_t address,
                                               std::uint64_t length,
                                               std::uint32_t ring_entries = default_ring_entries);

    Session(Session&&) = default;
    Session& operator=(Session&&) = default;

    /// The memory node, to be mapped privately, or shared if it is over a process's memory. Not
    /// inherited across exec. -1 after close_node().
    [[nodiscard]] int node() const { return node_.get(); }
    /// Gives the node up once another process has it. Mappings and other descriptors stay valid.
    void close_node() { node_.reset(); }

    [[nodiscard]] int fd() const override { return control_.get(); }
    Result<std::size_t> read(std::span<Record> into) override {
        return ring_.read(control_.get(), into);
    }
    Result<Stats> stats() override { return read_stats(control_.get()); }

    /// Makes the next access to each of these pages create a record again. Zaps the range in every
    /// process that maps the file. Errors: io.
    Result<void> rearm(std::uint64_t first, std::uint64_t count) {
        return rearm_pages(control_.get(), first, count);
    }

  private:
    static Result<Session> create(gc_session_create arg);

    Session(UniqueFd control, UniqueFd node, Ring ring)
        : control_(std::move(control)), node_(std::move(node)), ring_(std::move(ring)) {}

    UniqueFd control_;
    UniqueFd node_;
    Ring ring_;
};

}  // namespace gc::capture
