// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/progress.h"

#include <cstdio>
#include <fmt/core.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

namespace gc::migrate {
namespace {

using namespace std::chrono_literals;

constexpr auto live_interval = 100ms;
constexpr auto plain_interval = 1s;

std::string progress_text(const ProgressCounts& counts, double seconds) {
    const double share = counts.total == 0 ? 0
                                           : 100.0 * static_cast<double>(counts.delivered) /
                                                 static_cast<double>(counts.total);
    return fmt::format(
        "{:6.1f} s  {:<11} {:5.1f} % of {} pages  urgent {}  guide {}  warm {}  background {}"
        "  {:.1f} MiB sent",
        seconds, counts.phase, share, counts.total, counts.urgent, counts.guide, counts.warm,
        counts.background, static_cast<double>(counts.bytes) / (1 << 20));
}

}  // namespace

Progress::Progress(Output output, bool verbose)
    : output_(output), verbose_(verbose),
      terminal_(output == Output::automatic && ::isatty(STDOUT_FILENO) == 1) {}

void Progress::end_line() {
    if (line_open_)
        std::fputs("\n", stdout);
    line_open_ = false;
    std::fflush(stdout);
}

void Progress::event(std::string_view event, const nlohmann::json& fields, std::string_view text) {
    if (output_ == Output::json) {
        nlohmann::json line = fields;
        line["event"] = event;
        fmt::print("{}\n", line.dump());
        std::fflush(stdout);
    } else if (output_ == Output::automatic && !text.empty()) {
        end_line();
        fmt::print("{}\n", text);
        std::fflush(stdout);
    }
}

void Progress::milestone(std::string_view name, std::string_view text) {
    event(name, nlohmann::json::object(), text);
}

void Progress::detail(std::string_view name, const nlohmann::json& fields, std::string_view text) {
    event(name, fields, verbose_ ? text : std::string_view{});
}

void Progress::warning(std::string_view text) {
    if (output_ == Output::json) {
        event("warning", {{"message", text}});
        return;
    }
    end_line();
    fmt::print(stderr, "gcctl: warning: {}\n", text);
}

void Progress::update(const ProgressCounts& counts) {
    const auto now = std::chrono::steady_clock::now();
    if (output_ == Output::quiet || now - last_ < (terminal_ ? live_interval : plain_interval))
        return;
    last_ = now;
    if (output_ == Output::json) {
        event("progress", {{"phase", counts.phase},
                           {"delivered", counts.delivered},
                           {"total", counts.total},
                           {"urgent", counts.urgent},
                           {"guide", counts.guide},
                           {"warm", counts.warm},
                           {"background", counts.background},
                           {"bytes", counts.bytes}});
        return;
    }
    const std::string text =
        progress_text(counts, std::chrono::duration<double>(now - started_).count());
    fmt::print("{}{}{}", terminal_ ? "\r\033[K" : "", text, terminal_ ? "" : "\n");
    line_open_ = terminal_;
    std::fflush(stdout);
}

}  // namespace gc::migrate
