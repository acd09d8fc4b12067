// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/attachment.h"
#include "policy/install.h"

#include <algorithm>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cerrno>

namespace gc::policy {
namespace {

template <typename T> Result<T> read_map(const UniqueFd& map, std::uint32_t key) {
    T value{};
    if (::bpf_map_lookup_elem(map.get(), &key, &value) < 0)
        return fail_errno(errno, "read a map of the policy");
    return value;
}

}  // namespace

std::string Status::warning() const {
    if (before.empty())
        return "";
    return fmt::format("{}: other filters see packets before the policy does ({}). Packets that "
                       "they decide about, even if they let them pass, are neither counted nor "
                       "paced. Give these filters a priority above 1, and attach again",
                       device, before);
}

Result<Counters> Attachment::counters() const {
    Counters sum{};
    std::vector<gc_class_stats> cpus(static_cast<std::size_t>(::libbpf_num_possible_cpus()));
    for (std::uint32_t index = 0; index < GC_COUNTERS; ++index) {
        if (::bpf_map_lookup_elem(stats_.get(), &index, cpus.data()) < 0)
            return fail_errno(errno, "read gc_stats");
        for (const gc_class_stats& cpu : cpus) {
            sum[index].packets += cpu.packets;
            sum[index].bytes += cpu.bytes;
            sum[index].drops += cpu.drops;
            sum[index].delayed += cpu.delayed;
            sum[index].delay_ns += cpu.delay_ns;
            sum[index].delay_max_ns = std::max(sum[index].delay_max_ns, cpu.delay_max_ns);
        }
    }
    return sum;
}

Result<Status> Attachment::status() const {
    Status status;
    status.device = state_.device;
    status.policy = state_.policy;
    status.object = state_.object.empty() ? "gcctl's own" : state_.object;
    status.hook = state_.hook;
    GC_TRY(status.missing, find_missing(pins_, state_));
    GC_TRY(status.before, find_before(pins_, state_));
    status.link_bytes_per_s = state_.link_bytes_per_s;
    status.lasting = state_.lasting;
    GC_TRY(status.config, read_map<gc_policy_config>(config_, 0));
    GC_TRY(status.counters, counters());
    if (rates_) {
        status.rates.emplace();
        for (std::uint32_t index = 0; index < GC_COUNTERS; ++index) {
            GC_TRY((*status.rates)[index], read_map<std::uint64_t>(rates_, index));
        }
    }
    return status;
}

}  // namespace gc::policy
