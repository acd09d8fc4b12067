// SPDX-License-Identifier: GPL-2.0-or-later
// Devices that were plugged in or out since the VM started, which the source's command line does
// not tell. The source QEMU itself describes them: what the other host says of its QEMU could name
// files of this one.
#pragma once

#include "guide/command_line.h"
#include "qmp/client.h"

#include <span>
#include <string>

namespace gc::guide {

/// Fills in `plugged` and `unplugged`. The options of `plugged` are the source's, as a command line
/// would have them: they are made harmless like all others.
/// @param argv of the source; with `config_files` in the substitutes
/// Errors: unsupported (a device that refers to what a guide cannot have); those of qmp::Client
Result<void> find_plugged(qmp::Client& source, std::span<const std::string> argv,
                          GuideSubstitutes& substitutes);

}  // namespace gc::guide
