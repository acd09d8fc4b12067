// SPDX-License-Identifier: GPL-2.0-or-later
// What is left of a domain of libvirt's while libvirt's daemon for QEMU does not run: its QEMU, and
// the file from which the daemon knows of it when it starts again.
#pragma once

#include "util/error.h"

#include <string>
#include <string_view>
#include <vector>

namespace gc::libvirt {

/// Of the daemon, libvirtd or virtqemud, that has the system's QEMUs.
inline constexpr std::string_view run_directory = "/run/libvirt";

/// The commands with which an operator lets a domain run on that libvirt cannot resume: the daemon
/// is stopped meanwhile, and its QEMUs run on.
/// @param verdict for `gcctl take-back`; empty if that knows it
std::vector<std::string> take_back_lines(const std::string& domain, const std::string& verdict = "",
                                         std::string_view directory = run_directory);

/// Errors: unsupported, if the daemon runs, or if systemd would start it, with what to type.
Result<void> check_no_daemon(std::string_view directory = run_directory);
/// The command that starts the daemon.
std::string start_daemon_line(std::string_view directory = run_directory);

/// What the daemon has written of a domain that has a QEMU (qemuDomainObjPrivateXMLFormat() in
/// src/qemu/qemu_domain.c, 9.0).
class DomainStatus {
  public:
    /// @param named its name or UUID. Errors: unsupported, if there is none, or without the right
    /// to see it; protocol, if it has another form.
    static Result<DomainStatus> find(std::string_view named,
                                     std::string_view directory = run_directory);

    [[nodiscard]] const std::string& name() const { return name_; }
    /// QEMU's QMP socket. The daemon is its only client while it runs.
    [[nodiscard]] const std::string& monitor() const { return monitor_; }

    /// Removes the migration that the daemon would have the domain locked for when it starts. The
    /// daemon must not run. Errors: io, protocol.
    [[nodiscard]] Result<void> remove_migration() const;

  private:
    DomainStatus(std::string path, std::string name, std::string monitor)
        : path_(std::move(path)), name_(std::move(name)), monitor_(std::move(monitor)) {}

    std::string path_;
    std::string name_;
    std::string monitor_;
};

}  // namespace gc::libvirt
