// SPDX-License-Identifier: GPL-2.0-or-later
// Compresses frames of one channel before they are written.
#pragma once

#include "peer/compression.h"
#include "peer/frame.h"
#include "transfer/compress.h"
#include "transfer/compression_choice.h"
#include "transfer/link_cost.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <sys/uio.h>
#include <vector>

namespace gc::transfer {

/// What compression did. From any thread.
struct CompressionCounts {
    std::atomic<std::uint64_t> bytes = 0;   ///< of the frames that were sent compressed
    std::atomic<std::uint64_t> sent = 0;    ///< what these took on the wire
    std::atomic<std::uint64_t> cpu_ns = 0;  ///< of the source, also for frames that did not shrink

    [[nodiscard]] std::uint64_t saved() const {
        const std::uint64_t after = sent;  // first: it grows last
        return bytes - after;
    }
};

/// Not thread-safe.
class FrameCompressor {
  public:
    /// When the VM needs the frame.
    enum class For : std::uint8_t {
        later,  ///< nobody yet: frames before it are on their way while it is compressed
        soon,   ///< the VM, soon or now
    };

    FrameCompressor(const LinkCost& link, CompressionCounts& counts)
        : link_(link), counts_(counts) {}

    /// @param wish as the user has it
    /// @param known what the other gcctl can undo
    void use(Compress wish, std::span<const peer::Compression> known);
    /// Only LZ4, and only where that saves time.
    void use_fast(Compress wish, std::span<const peer::Compression> known);

    /// How to compress the next frame, if at all.
    /// @param paced whether `--bandwidth` holds for it
    [[nodiscard]] std::optional<peer::Compression> choose(For who, bool paced);

    /// @return the content of a `compressed` frame, valid until the next call; nullopt if the
    /// frame does not shrink
    std::optional<std::span<const std::byte>> compress(peer::Compression how, peer::FrameKind kind,
                                                       std::span<const iovec> content);

  private:
    const LinkCost& link_;
    CompressionCounts& counts_;
    std::vector<peer::Compression> allowed_;
    bool automatic_ = true;
    CompressionChoice choice_;
    peer::Compressor compressor_;
    std::vector<std::byte> content_;
    std::vector<std::byte> frame_;
};

}  // namespace gc::transfer
