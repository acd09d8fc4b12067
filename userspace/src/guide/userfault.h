// SPDX-License-Identifier: GPL-2.0-or-later
// Lets a guide, which has no capabilities, use userfaultfd.
#pragma once

#include "guide/process.h"
#include "util/error.h"
#include "util/fd.h"

namespace gc::guide {

class Userfault {
  public:
    /// Finds how a guide can use userfaultfd: by the system call where all users may, else by
    /// /dev/userfaultfd. Errors: unsupported, with the command that fixes it.
    static Result<Userfault> open();

    /// Adds what the guide needs to the options of its process.
    void give(SpawnOptions& options) const;

  private:
    UniqueFd device_;  ///< not set if all users may
    UniqueFd shim_;    ///< see userfault_shim.c
};

}  // namespace gc::guide
