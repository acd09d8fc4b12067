// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/precopy.h"

namespace gc::migrate {

std::optional<report::PrecopyEnd> Precopy::over(const std::optional<PrecopyProgress>& progress,
                                                std::uint64_t sent, Clock::time_point now) {
    using report::PrecopyEnd;
    const auto passed = std::chrono::floor<std::chrono::milliseconds>(now - begun_);
    if (limits_.time.count() > 0 && passed >= limits_.time)
        return report_.ended = PrecopyEnd::time;
    if (limits_.bytes > 0 && sent >= limits_.bytes)
        return report_.ended = PrecopyEnd::bytes;
    if (!progress || progress->round == round_)
        return std::nullopt;
    round_ = progress->round;
    if (limits_.rounds > 0 && round_ > limits_.rounds)
        return report_.ended = PrecopyEnd::rounds;
    const std::uint64_t left = progress->remaining_bytes;
    const bool first = report_.remaining_bytes.empty();
    const std::uint64_t before = first ? 0 : report_.remaining_bytes.back();
    report_.rounds_ms.push_back(static_cast<std::uint64_t>(passed.count()));
    report_.remaining_bytes.push_back(left);
    if (!limits_.automatic || first)
        return std::nullopt;
    if (is_little(left, sent, now))
        return report_.ended = PrecopyEnd::little_left;
    if (left > before / 4 * quarters_left)
        return report_.ended = PrecopyEnd::no_gain;
    return std::nullopt;
}

bool Precopy::is_little(std::uint64_t bytes, std::uint64_t sent, Clock::time_point now) const {
    const double seconds = std::chrono::duration<double>(now - begun_).count();
    const double rate = seconds > 0 ? static_cast<double>(sent) / seconds : 0;
    return static_cast<double>(bytes) <= rate * std::chrono::duration<double>(little).count();
}

}  // namespace gc::migrate
