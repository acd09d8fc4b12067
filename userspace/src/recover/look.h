// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "recover/advice.h"

namespace gc::recover {

/// Looks at the processes of a record, and asks its QEMU unless a gcctl is at work, whose monitor
/// it is. Waits for at most two seconds.
[[nodiscard]] Seen look_at(const state::Record& record);

}  // namespace gc::recover
