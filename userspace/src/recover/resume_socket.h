// SPDX-License-Identifier: GPL-2.0-or-later
// Where a source QEMU of libvirt's resumes its migration to. libvirt 11 gives its QEMUs
// postcopy-preempt: they connect twice, for which they need an address
// (postcopy_preempt_establish_channel() in migration/postcopy-ram.c, 8.0 and later).
#pragma once

#include "libvirt/migration_socket.h"
#include "qmp/client.h"

namespace gc::recover {

class ResumeSocket {
  public:
    /// @param domain the VM's name
    /// @param qemu its QEMU, which alone can connect. Errors: unsupported, io.
    static Result<ResumeSocket> make(const std::string& domain, pid_t qemu);

    /// Makes QEMU resume its migration. @return where its stream comes from, while this object
    /// lives. Errors: those of QMP; io.
    Result<UniqueFd> resume(qmp::Client& source) const;

  private:
    ResumeSocket(libvirt::MigrationSocket socket, std::string uri, UniqueFd listener, pid_t qemu)
        : socket_(std::move(socket)), uri_(std::move(uri)), listener_(std::move(listener)),
          qemu_(qemu) {}

    libvirt::MigrationSocket socket_;
    std::string uri_;
    UniqueFd listener_;
    pid_t qemu_;
};

}  // namespace gc::recover
