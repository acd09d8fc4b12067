// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "receive/options.h"

namespace gc::receive {

/// The credentials of the listening end. With --psk-stdin, waits for the key that `gcctl migrate
/// --to ssh://...` sends through ssh. Errors: usage (no such key), and those of peer::secure().
Result<peer::Security> security_of(const Options& options);

}  // namespace gc::receive
