// SPDX-License-Identifier: GPL-2.0-or-later
#include "shaper.h"

#include "shape.skel.h"

#include <bpf/bpf.h>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <stdexcept>
#include <string>

namespace gc::bpf::test {

namespace {

void check(int result, const char* what) {
    if (result < 0)
        throw std::runtime_error(std::string(what) + ": " + std::strerror(errno));
}

template <class Value> Value read(const bpf_map* map, std::uint32_t index) {
    Value value;
    check(::bpf_map_lookup_elem(::bpf_map__fd(map), &index, &value), ::bpf_map__name(map));
    return value;
}

template <class Value> void write(const bpf_map* map, std::uint32_t index, const Value& value) {
    check(::bpf_map_update_elem(::bpf_map__fd(map), &index, &value, BPF_ANY), ::bpf_map__name(map));
}

}  // namespace

std::uint64_t now() {
    timespec time{};
    ::clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<std::uint64_t>(time.tv_sec) * second +
           static_cast<std::uint64_t>(time.tv_nsec);
}

gc_policy_config default_config() {
    constexpr std::uint64_t rate = 1'000'000'000;
    gc_policy_config config{};
    config.version = GC_POLICY_VERSION;
    config.mark = mark;
    config.target = rate;
    config.horizon_ns = 10 * second;
    for (gc_class_config& one : config.classes)
        one = {.floor = rate, .cap = rate, .weight = 1, .dscp = GC_DSCP_KEEP, .reserved = {}};
    config.classes[GC_URGENT].weight = 0;
    return config;
}

void Shaper::Destroy::operator()(shape* shape) const {
    shape__destroy(shape);
}

Shaper::Shaper() : shape_(shape__open_and_load()) {
    if (!shape_)
        throw std::runtime_error("the kernel does not load shape.bpf.o");
    set(config_);
}

Shaper::~Shaper() = default;

void Shaper::set(const gc_policy_config& config) {
    write(shape_->maps.gc_config, 0, config);
}

Passed Shaper::send(const Packet& packet) {
    Passed passed{.verdict = 0, .departure = 0, .data = Bytes(packet.data.size() + 64)};
    __sk_buff in{}, out{};
    in.mark = packet.mark;
    in.wire_len = packet.wire_len;
    in.gso_segs = packet.gso_segs;
    in.tstamp = packet.departure;
    LIBBPF_OPTS(bpf_test_run_opts, options);
    options.data_in = packet.data.data();
    options.data_size_in = static_cast<std::uint32_t>(packet.data.size());
    options.data_out = passed.data.data();
    options.data_size_out = static_cast<std::uint32_t>(passed.data.size());
    options.ctx_in = &in;
    options.ctx_size_in = sizeof(in);
    options.ctx_out = &out;
    options.ctx_size_out = sizeof(out);
    options.repeat = packet.repeat;
    check(::bpf_prog_test_run_opts(::bpf_program__fd(shape_->progs.shape), &options), "test run");
    passed.verdict = static_cast<int>(options.retval);
    passed.departure = out.tstamp;
    passed.data.resize(options.data_size_out);
    return passed;
}

gc_class_stats Shaper::stats(unsigned index) {
    std::vector<gc_class_stats> cpus(static_cast<std::size_t>(::libbpf_num_possible_cpus()));
    check(::bpf_map_lookup_elem(::bpf_map__fd(shape_->maps.gc_stats), &index, cpus.data()),
          "read gc_stats");
    gc_class_stats sum{};
    for (const gc_class_stats& cpu : cpus) {
        sum.packets += cpu.packets;
        sum.bytes += cpu.bytes;
        sum.drops += cpu.drops;
        sum.delayed += cpu.delayed;
        sum.delay_ns += cpu.delay_ns;
        sum.delay_max_ns = std::max(sum.delay_max_ns, cpu.delay_max_ns);
    }
    return sum;
}

std::uint64_t Shaper::rate(unsigned index) {
    return read<std::uint64_t>(shape_->maps.gc_rates, index);
}

Window Shaper::window() {
    return read<Window>(shape_->maps.gc_windows, 0);
}

void Shaper::set_window(const Window& window) {
    write(shape_->maps.gc_windows, 0, window);
}

void Shaper::set_next(unsigned index, std::uint64_t time) {
    write(shape_->maps.gc_paces, index, Pace{.next = time * 16, .unused = {}});
}

std::uint64_t Shaper::next(unsigned index) {
    return read<Pace>(shape_->maps.gc_paces, index).next;
}

}  // namespace gc::bpf::test
