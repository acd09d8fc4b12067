// SPDX-License-Identifier: GPL-2.0-or-later
// `gcctl receive --keep`: one VM after the other, each in a process of its own.
#pragma once

#include "receive/options.h"

namespace gc::receive {

/// Takes VMs until SIGTERM, SIGINT or SIGHUP comes, and the VM that is on its way then is either
/// here or refused. The port stays open from one VM to the next. @return the exit status
int serve(const Options& options);

}  // namespace gc::receive
