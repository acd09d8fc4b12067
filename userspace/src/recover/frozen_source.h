// SPDX-License-Identifier: GPL-2.0-or-later
// The source QEMU of a broken migration: its VM is stopped, its memory as it was at the
// switch-over.
//
// Guest RAM is read from the memory itself. ROMs and video memory, whose place QEMU before 8.2 does
// not tell, come from QEMU: its migration is resumed on a local socket, the pages are requested,
// and the socket is closed, which leaves QEMU in postcopy-paused as it was found. It never gets so
// far that it could end its migration by itself: the destination may still need it.
#pragma once

#include "image/source_image.h"
#include "qmp/client.h"
#include "qmp/qemu_process.h"
#include "recover/link.h"
#include "state/process.h"
#include "stream/reader.h"

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace gc::recover {

class FrozenSource {
  public:
    /// Connects, checks that QEMU's migration is broken, and opens the memory. Changes nothing.
    /// Errors: io, unsupported.
    static Result<FrozenSource> open(const std::string& qmp_path);

    [[nodiscard]] const state::Process& process() const { return process_; }
    [[nodiscard]] const std::string& uuid() const { return uuid_; }
    [[nodiscard]] const std::vector<Block>& blocks() const { return blocks_; }
    /// QEMU sends nothing any more. Its migration is complete, because the destination had told it
    /// that everything arrived; or it had sent everything and waited for that, which QEMU 8.2 and
    /// later call a failure (migration_completion() in migration/migration.c). SourceQemu's
    /// switch_over() sees to it that the VM stays stopped then.
    [[nodiscard]] bool ended() const { return ended_; }

    /// A page of a block, by the block's name.
    using PageId = std::pair<std::string, std::uint64_t>;
    [[nodiscard]] bool is_guest_ram(const std::string& block) const;
    /// Makes QEMU send these pages, which are no guest RAM, unless they were fetched before.
    /// Errors: io, protocol.
    Result<void> fetch(const std::set<PageId>& wanted);
    /// The id of the section "ram"; known after a fetch().
    [[nodiscard]] std::uint32_t section() const { return section_.value_or(0); }

    /// The page's bytes in `room`, or an empty span if they are zeros. Errors: io.
    Result<std::span<const std::byte>> read(const PageId& page, std::span<std::byte> room) const;

    /// Everything has arrived: ends QEMU's migration, which becomes "completed".
    Result<void> end();
    /// Ends QEMU by SIGKILL.
    Result<void> kill();

  private:
    FrozenSource(qmp::Client qmp, state::Process process)
        : qmp_(std::move(qmp)), process_(process) {}
    Result<void> await_paused();
    Result<void> look();
    Result<void> answer(int fd, const stream::Command& command, const std::set<PageId>& wanted);
    void keep(std::string_view block, std::uint64_t offset, std::span<const std::byte> data,
              const std::set<PageId>& wanted);

    qmp::Client qmp_;
    state::Process process_;
    std::string uuid_;
    bool ended_ = false;
    std::vector<Block> blocks_;
    std::optional<image::SourceImage> image_;
    std::optional<std::uint32_t> section_;
    std::map<PageId, std::vector<std::byte>> fetched_;  ///< without bytes: zeros
};

}  // namespace gc::recover
