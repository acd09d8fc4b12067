// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/progress.h"
#include "util/print.h"

#include <cstdio>
#include <fmt/core.h>
#include <nlohmann/json.hpp>
#include <numeric>
#include <unistd.h>

namespace gc::migrate {
namespace {

using namespace std::chrono_literals;

constexpr auto live_interval = 100ms;
constexpr auto plain_interval = 1s;

std::uint64_t delivered(const ledger::ClassCounts& pages) {
    return std::accumulate(pages.in.begin(), pages.in.end(), std::uint64_t{0});
}

double in_seconds(std::chrono::steady_clock::duration duration) {
    return std::chrono::duration<double>(duration).count();
}

std::string progress_text(const ProgressCounts& counts, double seconds) {
    if (counts.lost_for)
        return fmt::format("{:6.1f} s  {:<11} connection lost, retrying for {:.0f} s", seconds,
                           counts.phase, in_seconds(*counts.lost_for));
    const ledger::ClassCounts& pages = counts.pages;
    const double share = pages.total == 0 ? 0
                                          : 100.0 * static_cast<double>(delivered(pages)) /
                                                static_cast<double>(pages.total);
    std::string text = fmt::format("{:6.1f} s  {:<11} {:5.1f} % of {} pages", seconds, counts.phase,
                                   share, pages.total);
    for (const ledger::PageClass page_class : ledger::page_classes)
        text += fmt::format("  {} {}", name(page_class), pages.in[page_class]);
    if (counts.mirror)
        text += fmt::format("  mirrored {}", counts.mirror->packets);
    text += fmt::format("  {:.1f} MiB sent", static_cast<double>(counts.bytes) / (1 << 20));
    if (counts.saved > 0)
        text += fmt::format(", {:.1f} saved", static_cast<double>(counts.saved) / (1 << 20));
    return text;
}

}  // namespace

Progress::Progress(Output output, bool verbose, bool insecure)
    : output_(output), verbose_(verbose), insecure_(insecure),
      terminal_(output == Output::automatic && ::isatty(STDOUT_FILENO) == 1) {}

void Progress::end_line() {
    if (line_open_)
        std::fputs("\n", stdout);
    line_open_ = false;
    std::fflush(stdout);
}

void Progress::print_json(std::string_view event, nlohmann::json fields) {
    fields["event"] = event;
    if (insecure_)
        fields["insecure"] = true;
    print_best_effort(stdout, "{}\n", fields.dump());
    std::fflush(stdout);
}

void Progress::event(std::string_view event, Fields fields, std::string_view text) {
    if (output_ == Output::json) {
        nlohmann::json line;
        for (const Field& field : fields)
            std::visit([&](auto value) { line[std::string(field.name)] = value; }, field.value);
        print_json(event, std::move(line));
    } else if (output_ == Output::automatic && !text.empty()) {
        end_line();
        print_best_effort(stdout, "{}\n", text);
        std::fflush(stdout);
    }
}

void Progress::milestone(std::string_view name, std::string_view text) {
    event(name, {}, text);
}

void Progress::detail(std::string_view name, Fields fields, std::string_view text) {
    event(name, fields, verbose_ ? text : std::string_view{});
}

void Progress::difference(const preflight::Difference& difference) {
    if (output_ == Output::json) {
        event("difference", {{"fatal", difference.fatal},
                             {"what", difference.what},
                             {"consequence", difference.consequence}});
        return;
    }
    end_line();
    print_best_effort(stderr, "gcctl: {}: {}: {}\n", difference.fatal ? "fatal" : "warning",
                      difference.what, difference.consequence);
}

void Progress::warning(std::string_view text) {
    if (output_ == Output::json) {
        event("warning", {{"message", text}});
        return;
    }
    end_line();
    print_best_effort(stderr, "gcctl: warning: {}\n", text);
}

void Progress::update(const ProgressCounts& counts) {
    const auto now = std::chrono::steady_clock::now();
    if (output_ == Output::quiet || now - last_ < (terminal_ ? live_interval : plain_interval))
        return;
    last_ = now;
    if (output_ == Output::json) {
        nlohmann::json fields{{"phase", counts.phase},
                              {"delivered", delivered(counts.pages)},
                              {"total", counts.pages.total},
                              {"bytes", counts.bytes},
                              {"saved", counts.saved}};
        for (const ledger::PageClass page_class : ledger::page_classes)
            fields[std::string(name(page_class))] = counts.pages.in[page_class];
        if (counts.mirror)
            fields["mirror"] = {{"packets", counts.mirror->packets},
                                {"dropped", counts.mirror->dropped},
                                {"in_step", counts.mirror->in_step},
                                {"dead", counts.mirror->dead}};
        if (counts.lost_for)
            fields["connection_lost_s"] = in_seconds(*counts.lost_for);
        print_json("progress", std::move(fields));
        return;
    }
    const std::string text = progress_text(counts, in_seconds(now - started_));
    print_best_effort(stdout, "{}{}{}", terminal_ ? "\r\033[K" : "", text, terminal_ ? "" : "\n");
    line_open_ = terminal_;
    std::fflush(stdout);
}

}  // namespace gc::migrate
