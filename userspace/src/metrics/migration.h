// SPDX-License-Identifier: GPL-2.0-or-later
// The metrics of one migration that has ended.
#pragma once

#include "metrics/exposition.h"
#include "report/report.h"

#include <chrono>
#include <optional>

namespace gc::metrics {

/// How gcctl ended: "completed" without a failure, else by the failure's kind, as its exit status
/// does.
[[nodiscard]] std::string_view result_of(std::optional<ErrorKind> failure);

/// At the source. @param failure nullopt: it completed
void count_migration(Exposition& exposition, const report::Report& report,
                     std::optional<ErrorKind> failure, std::chrono::system_clock::time_point end);

/// At the destination.
struct Received {
    std::optional<ErrorKind> failure;
    std::chrono::duration<double> duration{};
    report::DemandReport demand;
    std::chrono::system_clock::time_point end;
};
void count_received(Exposition& exposition, const Received& received);

/// Seconds since the epoch.
[[nodiscard]] double timestamp(std::chrono::system_clock::time_point time);

}  // namespace gc::metrics
