// SPDX-License-Identifier: GPL-2.0-or-later
// What captures a guide's first touches.
#pragma once

#include "report/report.h"
#include "util/error.h"

#include <cstdint>
#include <string>

namespace gc::guide {

/// What the user wants.
enum class CaptureWish : std::uint8_t { automatic, kmod, userfault };

/// What does it, and why that: where it was not the user's choice, why not the module.
struct ChosenCapture {
    report::Capture how = report::Capture::none;
    std::string reason;
};
/// Errors: unsupported, if the module is wanted and cannot be used, or neither can.
Result<ChosenCapture> choose_capture(CaptureWish wish);

}  // namespace gc::guide
