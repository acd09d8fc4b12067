// SPDX-License-Identifier: GPL-2.0-or-later
#include "trace/show.h"

#include "util/print.h"

#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace gc::trace {
namespace {

double mib(std::uint64_t pages) {
    return static_cast<double>(pages) / (1 << (20 - page_shift));
}

double seconds(std::uint64_t us) {
    return static_cast<double>(us) / 1e6;
}

std::string_view kind_name(AccessKind kind) {
    constexpr std::array<std::string_view, 5> names{"?", "read", "write", "exec", "any"};
    return names[static_cast<std::size_t>(kind)];
}

std::string vcpu_name(std::uint32_t vcpu) {
    return vcpu == UINT32_MAX ? "-" : fmt::format("{}", vcpu);
}

}  // namespace

Show::Show(const Header& header, bool json) : header_(header), json_(json) {}

void Show::begin(std::string_view event, nlohmann::json fields, std::string_view text) const {
    if (json_) {
        fields["event"] = event;
        fields["mode"] = to_string(header_.mode);
        fields["interval_us"] = header_.interval_us;
        for (const Block& block : header_.blocks)
            fields["blocks"].push_back(
                {{"name", block.name}, {"bytes", block.bytes}, {"page_size", block.page_size}});
        print_best_effort(stdout, "{}\n", fields.dump());
    } else {
        print_best_effort(stdout,
                          "{}: {:.1f} MiB of guest memory in {} RAM block{}, by {}\n"
                          "{:>10}{:>16}{:>12}{:>12}{:>12}\n",
                          text, mib(header_.pages()), header_.blocks.size(),
                          header_.blocks.size() == 1 ? "" : "s", to_string(header_.mode), "until",
                          "hot set", "pages", "of memory", "lost");
    }
    std::fflush(stdout);
}

void Show::epoch(const Epoch& epoch) {
    for (const Touch& touch : epoch.touches)
        touched_ += seen_.add(touch.page, touch.page + touch.pages());
    dropped_ += epoch.dropped;
    unresolved_ += epoch.unresolved;
    const std::uint64_t pages = epoch.pages();
    if (json_)
        print_best_effort(stdout, "{}\n",
                          nlohmann::json{{"event", "epoch"},
                                         {"begin_us", epoch.begin_us},
                                         {"length_us", epoch.length_us},
                                         {"pages", pages},
                                         {"dropped", epoch.dropped},
                                         {"unresolved", epoch.unresolved}}
                              .dump());
    else
        print_best_effort(stdout, "{:>8.1f} s{:>12.1f} MiB{:>12}{:>10.1f} %{:>12}\n",
                          seconds(epoch.begin_us + epoch.length_us), mib(pages), pages,
                          100.0 * static_cast<double>(pages) / static_cast<double>(header_.pages()),
                          epoch.dropped);
    std::fflush(stdout);
}

void Show::touches(const Epoch& epoch) const {
    for (const Touch& touch : epoch.touches) {
        const auto [number, page] = header_.place(touch.page);
        const std::string& block = header_.blocks[number].name;
        const std::uint64_t time = epoch.begin_us + touch.time_us;
        if (json_)
            print_best_effort(stdout, "{}\n",
                              nlohmann::json{{"event", "touch"},
                                             {"time_us", time},
                                             {"block", block},
                                             {"page", page},
                                             {"pages", touch.pages()},
                                             {"order", touch.order},
                                             {"kind", kind_name(touch.kind)},
                                             {"vcpu", vcpu_name(touch.vcpu)}}
                                  .dump());
        else
            print_best_effort(stdout, "{:>14.6f} vcpu {:<3} {:<5} {}+0x{:x} {} page{}{}\n",
                              seconds(time), vcpu_name(touch.vcpu), kind_name(touch.kind), block,
                              page << page_shift, touch.pages(), touch.pages() == 1 ? "" : "s",
                              touch.order == 0 ? "" : fmt::format(" of order {}", touch.order));
    }
}

void Show::total(nlohmann::json fields, std::string_view text) const {
    if (json_) {
        fields["event"] = "done";
        fields["pages"] = touched_;
        fields["dropped"] = dropped_;
        fields["unresolved"] = unresolved_;
        print_best_effort(stdout, "{}\n", fields.dump());
        return;
    }
    print_best_effort(
        stdout,
        "{} pages ({:.1f} MiB) touched in all; {} accesses lost, {} not related to memory\n",
        touched_, mib(touched_), dropped_, unresolved_);
    if (!text.empty())
        print_best_effort(stdout, "{}\n", text);
}

}  // namespace gc::trace
