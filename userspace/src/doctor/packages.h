// SPDX-License-Identifier: GPL-2.0-or-later
// The packages of the distributions, for advice.
#pragma once

#include "doctor/host.h"

#include <string>

namespace gc::doctor {

enum class Package { qemu, kernel, kernel_headers };

/// The command that installs it, or advice in words if this distribution's package is not known or
/// does not exist: /etc/os-release names the distribution, and headers are of its own kernels only.
std::string how_to_install(const Host& host, Package package);

}  // namespace gc::doctor
