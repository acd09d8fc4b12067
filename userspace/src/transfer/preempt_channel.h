// SPDX-License-Identifier: GPL-2.0-or-later
// The second channel of a source QEMU with postcopy-preempt: it connects there when it switches
// over, and sends there, and not in its stream, the pages that it is asked for
// (postcopy_preempt_establish_channel() and ram_save_queue_pages() in migration, 8.0 and later).
#pragma once

#include "image/source_image.h"
#include "stream/reader.h"
#include "util/fd.h"
#include "util/read_buffer.h"

#include <functional>
#include <string_view>

namespace gc::transfer {

/// Where such a QEMU connects.
struct PreemptSocket {
    int listener = -1;  ///< -1: it has no such channel
    std::function<Result<UniqueFd>()> accept{};
};

class PreemptChannel {
  public:
    explicit PreemptChannel(PreemptSocket socket = {}) : socket_(std::move(socket)) {}

    /// What to wait for, to be readable; -1 if nothing comes any more.
    [[nodiscard]] int fd() const { return connection_ ? connection_.get() : socket_.listener; }
    /// @param offset bytes, in the block
    using OnPage = std::function<void(std::string_view block, std::uint64_t offset,
                                      const image::PageContent& content)>;
    /// Takes what fd() has become readable for, and calls on_page() with each whole page.
    /// Errors: io, protocol.
    Result<void> read(const OnPage& on_page);

  private:
    PreemptSocket socket_;
    UniqueFd connection_;
    stream::Reader reader_{stream::Start::records};
    ReadBuffer buffer_;
};

}  // namespace gc::transfer
