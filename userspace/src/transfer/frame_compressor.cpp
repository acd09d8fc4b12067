// SPDX-License-Identifier: GPL-2.0-or-later
#include "transfer/frame_compressor.h"

#include <algorithm>
#include <cstring>
#include <ctime>

namespace gc::transfer {
namespace {

/// Less is not worth the destination's time.
constexpr double max_ratio = 0.95;

std::chrono::nanoseconds cpu_time() {
    timespec now{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

bool is_known(peer::Compression how, std::span<const peer::Compression> known) {
    return std::ranges::find(known, how) != known.end();
}

}  // namespace

void FrameCompressor::use(Compress wish, std::span<const peer::Compression> known) {
    allowed_.clear();
    automatic_ = wish == Compress::automatic;
    for (const peer::Compression how : peer::compressions)
        if (is_known(how, known) &&
            (automatic_ || (wish == Compress::lz4 && how == peer::Compression::lz4) ||
             (wish == Compress::zstd && how == peer::Compression::zstd)))
            allowed_.push_back(how);
}

void FrameCompressor::use_fast(Compress wish, std::span<const peer::Compression> known) {
    allowed_.clear();
    automatic_ = true;
    if (wish != Compress::off && is_known(peer::Compression::lz4, known))
        allowed_.push_back(peer::Compression::lz4);
}

std::optional<peer::Compression> FrameCompressor::choose(For who, bool paced) {
    if (allowed_.empty())
        return std::nullopt;
    if (!automatic_)
        return allowed_.front();
    const LinkCost::PerByte cost = link_.per_byte();
    return choice_.next(allowed_, cost.link + (paced ? cost.limit : 0), who == For::soon ? 2 : 1);
}

std::optional<std::span<const std::byte>>
FrameCompressor::compress(peer::Compression how, peer::FrameKind kind,
                          std::span<const iovec> content) {
    const auto began = std::chrono::steady_clock::now();
    const auto cpu_began = cpu_time();
    content_.clear();
    for (const iovec& part : content) {
        const auto* const from = static_cast<const std::byte*>(part.iov_base);
        content_.insert(content_.end(), from, from + part.iov_len);
    }
    if (content_.empty() || content_.size() > peer::max_bulk_frame)
        return std::nullopt;
    const auto max_size =
        static_cast<std::size_t>(max_ratio * static_cast<double>(content_.size()));
    const auto result =
        max_size <= peer::compressed_head_size
            ? std::nullopt
            : compressor_.compress(how, content_, max_size - peer::compressed_head_size);
    if (result) {
        const auto head = peer::encode(peer::CompressedHead{kind, how, content_.size()});
        frame_.assign(head.begin(), head.end());
        frame_.insert(frame_.end(), result->begin(), result->end());
        counts_.bytes += content_.size();
        counts_.sent += frame_.size();
    }
    counts_.cpu_ns += static_cast<std::uint64_t>((cpu_time() - cpu_began).count());
    // Waits for the link are measured by the clock, too: on a busy host both take longer.
    choice_.tried(how, content_.size(), result ? frame_.size() : content_.size(),
                  std::chrono::steady_clock::now() - began);
    if (!result)
        return std::nullopt;
    return frame_;
}

}  // namespace gc::transfer
