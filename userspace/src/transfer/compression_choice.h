// SPDX-License-Identifier: GPL-2.0-or-later
// `--compress auto`: whether to compress the next frame, and how.
//
// A byte that is not sent saves the time for which the thread would have waited for the link
// (LinkCost). Compressing costs time, too. The choice is what saves most time, by what was measured
// with the last frames; nothing, if none saves any. As soon as the compressor holds up the link
// instead of the other way round, nobody waits for the link any more, and the cost of its bytes
// falls: so a link that is faster than the compressor gets its pages as they are.
#pragma once

#include "peer/compression.h"
#include "transfer/link_cost.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>

namespace gc::transfer {

/// Not thread-safe.
class CompressionChoice {
  public:
    using Duration = LinkCost::Duration;

    /// After this many frames, a compression that could save time is tried again: memory differs.
    static constexpr unsigned try_interval = 64;

    /// @param per_byte what a byte of the link costs, in nanoseconds
    /// @param times how often the time to compress counts: twice where somebody waits for the page,
    /// and so for its decompression, too
    [[nodiscard]] std::optional<peer::Compression> next(std::span<const peer::Compression> allowed,
                                                        double per_byte, double times) {
        ++frames_;
        std::optional<peer::Compression> best;
        double best_saved = 0;
        for (const peer::Compression how : allowed) {
            Known& known = of(how);
            const double cost = margin * times * known.time / known.bytes;
            const double saved = (1 - known.size / known.bytes) * per_byte - cost;
            // If all of the page could be spared, and it took half as long.
            const bool could_save = per_byte > cost / 2;
            if (could_save && frames_ - known.tried_at >= try_interval) {
                known.tried_at = frames_;
                return how;
            }
            if (saved > best_saved) {
                best = how;
                best_saved = saved;
            }
        }
        if (best)
            of(*best).tried_at = frames_;
        return best;
    }

    /// A frame was compressed.
    /// @param size what was sent of it, which is all of it if it did not shrink
    /// @param time by the clock
    void tried(peer::Compression how, std::uint64_t bytes, std::uint64_t size, Duration time) {
        Known& known = of(how);
        known.bytes = keep * known.bytes + static_cast<double>(bytes);
        known.size = keep * known.size + static_cast<double>(size);
        known.time = keep * known.time + static_cast<double>(time.count());
    }

  private:
    /// Sums over the last frames, of which each is worth less than the next. At first a guess,
    /// which the first frame outweighs.
    struct Known {
        double bytes;
        double size;
        double time;  ///< ns
        unsigned tried_at = 0;
    };
    static constexpr double keep = 0.9;
    /// So that what saves nothing is not done.
    static constexpr double margin = 1.1;
    static constexpr double guess = 16 << 10;

    Known& of(peer::Compression how) { return known_[how == peer::Compression::lz4 ? 0 : 1]; }

    std::array<Known, 2> known_{{{guess, 0.5 * guess, 2 * guess}, {guess, 0.4 * guess, 4 * guess}}};
    unsigned frames_ = 0;
};

}  // namespace gc::transfer
