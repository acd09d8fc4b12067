// SPDX-License-Identifier: GPL-2.0-or-later
// Every metric of gcctl, once: for those who write them, and for docs/reference/metrics.md.
//
// Names and units are those of Prometheus' conventions: seconds, bytes, _total of what only grows.
#pragma once

#include "metrics/exposition.h"

#include <array>
#include <string>

namespace gc::metrics {

inline constexpr Family migrations{
    "guidecopy_migrations_total", Type::counter,
    "Migrations that ended, by role (source, destination) and result (completed, failed, refused, "
    "cancelled, needs-operator)."};
inline constexpr Family duration{"guidecopy_migration_duration_seconds", Type::histogram,
                                 "Duration of completed migrations, by role."};
inline constexpr Family downtime{
    "guidecopy_migration_downtime_seconds", Type::histogram,
    "Time in which no vCPU ran at either end, of completed migrations."};
inline constexpr Family stalls{
    "guidecopy_demand_stall_seconds", Type::histogram,
    "Waits of the destination for pages that it had to request, by role of the reporting host."};
inline constexpr Family sent_bytes{"guidecopy_sent_bytes_total", Type::counter,
                                   "Bytes sent to destinations, by class of the pages."};
inline constexpr Family sent_pages{"guidecopy_sent_pages_total", Type::counter,
                                   "Pages of 4 KiB sent to destinations, by class."};
inline constexpr Family guides{
    "guidecopy_guides_total", Type::counter,
    "How the guides of migrations ended (complete, diverged, died, memory-limit, refused, off)."};
inline constexpr Family connection_losses{
    "guidecopy_connection_losses_total", Type::counter,
    "Connections to destinations that were lost during a migration."};

inline constexpr Family last_end{"guidecopy_last_migration_end_timestamp_seconds", Type::gauge,
                                 "When the last migration ended, by role."};
inline constexpr Family last_success{"guidecopy_last_migration_success", Type::gauge,
                                     "1 if the last migration completed, else 0; by role."};
inline constexpr Family last_duration{"guidecopy_last_migration_duration_seconds", Type::gauge,
                                      "Duration of the last migration, by role."};
inline constexpr Family last_downtime{"guidecopy_last_migration_downtime_seconds", Type::gauge,
                                      "Downtime of the last migration."};
inline constexpr Family last_bytes{"guidecopy_last_migration_sent_bytes", Type::gauge,
                                   "Bytes that the last migration sent."};
inline constexpr Family last_faults{"guidecopy_last_migration_demand_faults", Type::gauge,
                                    "Pages that the destination of the last migration had to "
                                    "request, by role."};
inline constexpr Family last_stall{"guidecopy_last_migration_demand_stall_seconds", Type::gauge,
                                   "Sum of the waits for them, by role."};

inline constexpr Family evacuations{
    "guidecopy_evacuations_total", Type::counter,
    "Evacuations that ended, by result (completed, failed, refused, cancelled, needs-operator)."};
inline constexpr Family evacuation_vms{
    "guidecopy_evacuation_vms", Type::gauge,
    "VMs of the evacuation that runs or ran last, by state (waiting, moving, moved, kept, refused, "
    "failed, needs-operator, cancelled)."};
inline constexpr Family evacuation_memory{"guidecopy_evacuation_remaining_bytes", Type::gauge,
                                          "Memory of its VMs that have not moved."};
inline constexpr Family evacuation_begin{"guidecopy_evacuation_start_timestamp_seconds",
                                         Type::gauge, "When it began."};
inline constexpr Family evacuation_end{"guidecopy_evacuation_end_timestamp_seconds", Type::gauge,
                                       "When it ended; 0 while it runs."};

inline constexpr std::array all_families{
    migrations,    duration,       downtime,          stalls,           sent_bytes,
    sent_pages,    guides,         connection_losses, last_end,         last_success,
    last_duration, last_downtime,  last_bytes,        last_faults,      last_stall,
    evacuations,   evacuation_vms, evacuation_memory, evacuation_begin, evacuation_end};

/// docs/reference/metrics.md.
[[nodiscard]] std::string reference_page();

}  // namespace gc::metrics
