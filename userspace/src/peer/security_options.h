// SPDX-License-Identifier: GPL-2.0-or-later
// The options by which the user of `gcctl migrate` and `gcctl receive` chooses how the VM is
// protected on its way.
#pragma once

#include "options/manual.h"
#include "peer/security.h"

namespace gc::peer {

/// @param options outlives the parser. Call finish() after parsing.
options::Group security_group(SecurityOptions& options, tls::Role role);

/// Errors: usage, for options that exclude each other.
Result<void> finish(SecurityOptions& options);

}  // namespace gc::peer
