// SPDX-License-Identifier: GPL-2.0-or-later
// quarantine.bpf.c lets nothing pass, and counts it.
#include "gc_sent.h"

#include "quarantine.skel.h"

#include <bpf/bpf.h>
#include <cstdint>
#include <gtest/gtest.h>
#include <linux/pkt_cls.h>
#include <memory>
#include <random>
#include <stdexcept>
#include <vector>

namespace gc::bpf::test {
namespace {

using Frame = std::vector<std::uint8_t>;

class QuarantineProgram : public testing::Test {
  protected:
    QuarantineProgram() : program_(::quarantine__open_and_load()) {
        if (!program_)
            throw std::runtime_error("the kernel does not load quarantine.bpf.o");
    }

    /// @return the verdict
    std::uint32_t send(const Frame& frame) {
        LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame.data(),
                    .data_size_in = static_cast<std::uint32_t>(frame.size()));
        if (::bpf_prog_test_run_opts(::bpf_program__fd(program_->progs.quarantine), &options) < 0)
            throw std::runtime_error("test run");
        return options.retval;
    }

    gc_sent sent(std::uint32_t kind) {
        std::vector<gc_sent> cpus(static_cast<std::size_t>(::libbpf_num_possible_cpus()));
        if (::bpf_map_lookup_elem(::bpf_map__fd(program_->maps.gc_sent), &kind, cpus.data()) < 0)
            throw std::runtime_error("read gc_sent");
        gc_sent sum{};
        for (const gc_sent& cpu : cpus) {
            sum.packets += cpu.packets;
            sum.bytes += cpu.bytes;
        }
        return sum;
    }

    static Frame frame(std::uint16_t type, std::size_t size = 60) {
        Frame made(size);
        made[12] = static_cast<std::uint8_t>(type >> 8);
        made[13] = static_cast<std::uint8_t>(type);
        return made;
    }

  private:
    struct Destroy {
        void operator()(quarantine* program) const { ::quarantine__destroy(program); }
    };
    std::unique_ptr<quarantine, Destroy> program_;
};

TEST_F(QuarantineProgram, EachProtocolIsCountedAndDropped) {
    const std::vector<std::pair<std::uint16_t, std::uint32_t>> types = {{0x0806, GC_SENT_ARP},
                                                                        {0x0800, GC_SENT_IPV4},
                                                                        {0x86dd, GC_SENT_IPV6},
                                                                        {0x88cc, GC_SENT_OTHER}};
    std::uint64_t count = 0;
    for (const auto& [type, kind] : types) {
        ++count;
        for (std::uint64_t i = 0; i < count; ++i)
            EXPECT_EQ(send(frame(type, 100)), TC_ACT_SHOT);
        EXPECT_EQ(sent(kind).packets, count) << type;
        EXPECT_EQ(sent(kind).bytes, count * 100) << type;
    }
}

TEST_F(QuarantineProgram, GarbageIsDroppedToo) {
    std::minstd_rand random(1);
    constexpr unsigned count = 500;
    for (unsigned i = 0; i < count; ++i) {
        Frame garbage(14 + random() % 1400);
        for (auto& byte : garbage)
            byte = static_cast<std::uint8_t>(random());
        ASSERT_EQ(send(garbage), TC_ACT_SHOT);
    }
    std::uint64_t counted = 0;
    for (std::uint32_t kind = 0; kind < GC_SENT_KINDS; ++kind)
        counted += sent(kind).packets;
    EXPECT_EQ(counted, count);
}

}  // namespace
}  // namespace gc::bpf::test
