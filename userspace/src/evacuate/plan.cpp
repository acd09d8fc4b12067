// SPDX-License-Identifier: GPL-2.0-or-later
#include "evacuate/plan.h"

#include "libvirt/xml.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <numeric>

namespace gc::evacuate {
namespace {

constexpr std::array<std::string_view, 4> order_names{"gain", "small", "large", "given"};

std::uint64_t mib(std::uint64_t bytes) {
    return bytes >> 20;
}

/// Whether `a` goes before `b`.
bool goes_before(const Vm& a, const Vm& b, Order order) {
    if (order == Order::given)
        return false;
    if (a.priority != b.priority)
        return a.priority > b.priority;
    if (order == Order::small)
        return a.memory < b.memory;
    if (order == Order::large)
        return a.memory > b.memory;
    return static_cast<double>(a.vcpus) * static_cast<double>(b.memory) >
           static_cast<double>(b.vcpus) * static_cast<double>(a.memory);
}

/// The first reason of each kind, for a VM that no host can have.
std::string reason_of(const Facts& facts, const Vm& vm, const std::vector<std::uint64_t>& room) {
    std::string reason;
    for (std::size_t host = 0; host < facts.hosts.size(); ++host) {
        const std::string& unfit = vm.unfit_for[host];
        reason += fmt::format("{}{}: {}", reason.empty() ? "" : "; ", facts.hosts[host].uri,
                              !unfit.empty()
                                  ? unfit
                                  : fmt::format("it needs {} MiB, {} MiB are left there",
                                                mib(vm.memory + qemu_memory), mib(room[host])));
    }
    return reason;
}

}  // namespace

Result<Order> parse_order(std::string_view text) {
    const auto* const found = std::ranges::find(order_names, text);
    if (found == order_names.end())
        return fail(ErrorKind::usage, "invalid order '{}' (expected gain, small, large or given)",
                    text);
    return static_cast<Order>(found - order_names.begin());
}

std::string_view name(Order order) {
    return order_names[static_cast<std::size_t>(order)];
}

Plan make_plan(const Facts& facts, Order order, bool overcommit) {
    std::vector<std::size_t> by_size(facts.vms.size());
    std::iota(by_size.begin(), by_size.end(), 0);
    std::ranges::stable_sort(by_size, [&](std::size_t a, std::size_t b) {
        return facts.vms[a].memory > facts.vms[b].memory;
    });
    std::vector<std::uint64_t> room;
    for (const Host& host : facts.hosts)
        room.push_back(host.available);

    Plan plan;
    for (const std::size_t index : by_size) {
        const Vm& vm = facts.vms[index];
        if (!vm.unfit.empty()) {
            plan.kept.push_back({index, vm.unfit});
            continue;
        }
        const std::uint64_t need = vm.memory + qemu_memory;
        std::optional<std::size_t> best;
        for (std::size_t host = 0; host < facts.hosts.size(); ++host)
            if (vm.unfit_for[host].empty() && (overcommit || room[host] >= need) &&
                (!best || room[host] > room[*best]))
                best = host;
        if (!best) {
            plan.kept.push_back({index, reason_of(facts, vm, room)});
            continue;
        }
        room[*best] -= std::min(room[*best], need);
        plan.moves.push_back({index, *best});
    }
    // The rest of the order is that of Facts.
    std::ranges::sort(plan.moves, {}, &Move::vm);
    std::ranges::stable_sort(plan.moves, [&](const Move& a, const Move& b) {
        return goes_before(facts.vms[a.vm], facts.vms[b.vm], order);
    });
    std::ranges::sort(plan.kept, {}, &Kept::vm);
    return plan;
}

Result<int> parse_priority(std::string_view element) {
    const pugi::xml_document document = libvirt::parse_xml(element);
    const std::string_view text = document.first_child().attribute("priority").value();
    int priority = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), priority);
    if (error == std::errc() && end == text.data() + text.size())
        return priority;
    return fail(ErrorKind::usage, "expected e.g. <evacuate priority='5'/>, found {}", element);
}

std::uint64_t share_of(std::uint64_t budget, std::uint64_t used, std::size_t starting) {
    return std::max<std::uint64_t>((budget - std::min(budget, used)) / starting, 1);
}

}  // namespace gc::evacuate
