// SPDX-License-Identifier: GPL-2.0-or-later
// --compress auto, on made-up links: it takes what saves time, and nothing where nothing does.
#include "transfer/compression_choice.h"

#include <gtest/gtest.h>
#include <map>
#include <optional>

namespace gc::transfer {
namespace {

using peer::Compression;

constexpr std::uint64_t frame_bytes = 256 * 1024;

/// Times in nanoseconds for each byte.
struct Costs {
    double link = 8;  ///< 1 Gbit/s
    double lz4 = 1.5, zstd = 3;
    double lz4_ratio = 0.5, zstd_ratio = 0.35;  ///< of the size that is left
    std::uint64_t queue = 3 * frame_bytes;      ///< bytes on their way while one is compressed
};

std::chrono::nanoseconds ns(double time) {
    return std::chrono::nanoseconds(static_cast<std::int64_t>(time));
}

/// A thread that compresses frames and writes them into a link.
class Sending {
  public:
    explicit Sending(const Costs& of) : costs(of) {}

    /// @return how long that took, in ns
    double send(unsigned frames, bool automatic = true) {
        const double begin = now_;
        for (unsigned i = 0; i < frames; ++i) {
            const auto how = automatic ? choice_.next(peer::compressions, cost_.per_byte().link, 1)
                                       : std::nullopt;
            ++sent[how];
            write(how ? compress(*how) : frame_bytes);
        }
        return now_ - begin;
    }

    Costs costs;
    std::map<std::optional<Compression>, unsigned> sent;

  private:
    double compress(Compression how) {
        const bool lz4 = how == Compression::lz4;
        const double time = frame_bytes * (lz4 ? costs.lz4 : costs.zstd);
        const double size = frame_bytes * (lz4 ? costs.lz4_ratio : costs.zstd_ratio);
        now_ += time;
        choice_.tried(how, frame_bytes, static_cast<std::uint64_t>(size), ns(time));
        return size;
    }

    void write(double size) {
        const double ends = std::max(now_, link_free_) + size * costs.link;
        const double wait =
            std::max(0.0, ends - static_cast<double>(costs.queue) * costs.link - now_);
        now_ += wait;
        link_free_ = ends;
        cost_.sent(static_cast<std::uint64_t>(size), ns(wait));
    }

    double now_ = 0, link_free_ = 0;
    LinkCost cost_;
    CompressionChoice choice_;
};

double time_of(const Costs& costs, bool automatic) {
    Sending sending(costs);
    sending.send(200, automatic);
    return sending.send(2000, automatic);
}

TEST(CompressionChoice, ASlowLinkGetsTheSmallestFrames) {
    Sending made({.link = 80});
    made.send(1000);
    EXPECT_GT(made.sent[Compression::zstd], 950U);
}

TEST(CompressionChoice, AFastLinkGetsThemAsTheyAre) {
    Sending made({.link = 0.3});
    made.send(1000);
    EXPECT_EQ(made.sent[std::nullopt], 1000U) << "not even a try";
}

TEST(CompressionChoice, WhatDoesNotShrinkIsOnlyTriedNowAndThen) {
    Sending made({.link = 80, .lz4_ratio = 1, .zstd_ratio = 1});
    made.send(1000);
    EXPECT_GT(made.sent[std::nullopt], 950U);
    EXPECT_GT(made.sent[Compression::lz4], 5U);
    EXPECT_GT(made.sent[Compression::zstd], 5U);
}

TEST(CompressionChoice, MemoryThatBeginsToShrinkIsNoticed) {
    Sending made({.link = 80, .lz4_ratio = 1, .zstd_ratio = 1});
    made.send(500);
    made.costs.lz4_ratio = made.costs.zstd_ratio = 0.3;
    made.send(200);
    made.sent.clear();
    made.send(500);
    EXPECT_LT(made.sent[std::nullopt], 30U);
}

TEST(CompressionChoice, IsNeverMuchSlowerThanNothing) {
    for (const double link : {0.2, 0.4, 0.8, 1.6, 2.0, 3.2, 4.0, 8.0, 80.0})
        for (const double ratio : {0.1, 0.5, 0.8, 0.94, 1.0})
            for (const double slower : {1.0, 10.0})
                for (const std::uint64_t queue : {frame_bytes, 3 * frame_bytes, 30 * frame_bytes}) {
                    const Costs costs{.link = link,
                                      .lz4 = 1.5 * slower,
                                      .zstd = 3 * slower,
                                      .lz4_ratio = ratio,
                                      .zstd_ratio = ratio,
                                      .queue = queue};
                    const double with = time_of(costs, true), without = time_of(costs, false);
                    EXPECT_LT(with, 1.08 * without)
                        << link << " ns, ratio " << ratio << ", " << slower << " times slower, "
                        << queue << " bytes queued";
                }
}

TEST(CompressionChoice, SavesWhereThereIsTime) {
    EXPECT_LT(time_of({}, true), 0.55 * time_of({}, false));
}

}  // namespace
}  // namespace gc::transfer
