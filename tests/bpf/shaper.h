// SPDX-License-Identifier: GPL-2.0-or-later
// shape.bpf.c loaded into the kernel, attached to nothing, and packets for it.
#pragma once

#include "gc_policy.h"

#include <array>
#include <cstdint>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <memory>
#include <span>
#include <vector>

struct shape;

namespace gc::bpf::test {

inline constexpr std::uint64_t second = 1'000'000'000;  // ns
inline constexpr std::uint32_t mark = 0x67630000;
inline constexpr std::uint32_t no_mark = 0;
inline constexpr int go_on = -1;  // TC_ACT_UNSPEC
inline constexpr int drop = 2;    // TC_ACT_SHOT

using Bytes = std::vector<std::uint8_t>;

struct Packet {
    std::uint32_t mark = no_mark;
    Bytes data = Bytes(64);
    std::uint32_t wire_len = 0;  ///< 0: the data's length
    std::uint32_t gso_segs = 0;
    std::uint64_t departure = 0;
    int repeat = 1;
};

struct Passed {
    int verdict;
    std::uint64_t departure;
    Bytes data;
};

/// As shape.bpf.c has them in its maps.
struct Pace {
    std::uint64_t next;  ///< in sixteenths of a ns
    std::uint64_t unused[7];
};
struct Window {
    std::uint64_t busy;
    std::uint64_t start;
    std::uint64_t bytes[GC_COUNTERS];
    std::uint64_t estimates[GC_COUNTERS];
};

std::uint64_t now();  ///< as the program has it

/// Urgent not paced, the others at 1 GB/s each, no DSCP; rates are decided anew for each packet.
gc_policy_config default_config();

class Shaper : public testing::Test {
  protected:
    Shaper();
    ~Shaper() override;

    void set(const gc_policy_config& config);
    /// Fails the test if the kernel does not run it.
    Passed send(const Packet& packet);
    Passed send(unsigned index, std::uint32_t wire_len = 0) {
        return send({.mark = mark + index, .wire_len = wire_len});
    }
    gc_class_stats stats(unsigned index);
    std::uint64_t rate(unsigned index);
    Window window();
    void set_window(const Window& window);
    /// As if packets were waiting to be sent until then.
    void set_next(unsigned index, std::uint64_t time);
    std::uint64_t next(unsigned index);  ///< in sixteenths of a ns

    gc_policy_config config_ = default_config();

  private:
    struct Destroy {
        void operator()(shape* shape) const;
    };
    std::unique_ptr<shape, Destroy> shape_;
};

}  // namespace gc::bpf::test
