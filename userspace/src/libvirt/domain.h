// SPDX-License-Identifier: GPL-2.0-or-later
// A VM of libvirt's. Thread-safe.
#pragma once

#include "libvirt/connection.h"

#include <chrono>
#include <cstdint>
#include <vector>

namespace gc::libvirt {

/// What a migration says of the VM's memory.
struct JobMemory {
    unsigned iteration = 0;  ///< passes over all of it that have begun
    std::uint64_t remaining_bytes = 0;
};

class Domain {
  public:
    /// @param named its name or UUID. Errors: unsupported, if there is none.
    static Result<Domain> find(std::shared_ptr<Connection> connection, const std::string& named);

    /// All that have a QEMU. Errors: io.
    static Result<std::vector<Domain>> active(const std::shared_ptr<Connection>& connection);

    [[nodiscard]] const std::string& name() const { return name_; }
    [[nodiscard]] const std::string& uuid() const { return uuid_; }

    struct State {
        bool running = false;
        bool paused = false;
        bool active = false;  ///< it has a QEMU
        /// Paused, since a migration of it was not finished.
        bool postcopy_failed = false;
        bool migrating = false;  ///< paused, at the destination of a migration that goes on
    };
    [[nodiscard]] Result<State> state() const;

    struct Size {
        std::uint64_t max_memory = 0;  ///< bytes
        unsigned vcpus = 0;
    };
    [[nodiscard]] Result<Size> size() const;
    /// As libvirt describes it while it runs.
    [[nodiscard]] Result<std::string> xml() const;
    /// The element of a namespace in the domain's <metadata>; empty if there is none.
    [[nodiscard]] Result<std::string> metadata(const std::string& xml_namespace) const;

    /// The process of its QEMU, on this host. Errors: unsupported.
    [[nodiscard]] Result<pid_t> qemu() const;
    /// A command of QMP, and QEMU's reply. libvirt notes in its log that somebody did that. Errors:
    /// io.
    [[nodiscard]] Result<std::string> monitor_command(const std::string& command) const;

    // Of a migration that runs. Errors: io.
    Result<void> set_max_speed(std::uint64_t mib_per_s) const;
    Result<void> set_max_downtime(std::chrono::milliseconds limit) const;
    Result<void> start_postcopy() const;
    Result<void> abort_job() const;
    /// How often QEMU has started a pass over all of RAM.
    [[nodiscard]] Result<JobMemory> job_memory() const;

    [[nodiscard]] const Library& library() const { return connection_->library(); }
    /// A virDomainPtr.
    [[nodiscard]] void* get() const { return domain_.get(); }

  private:
    Domain(std::shared_ptr<Connection> connection, std::shared_ptr<void> domain);
    /// Takes a virDomainPtr. Errors: io.
    static Result<Domain> own(std::shared_ptr<Connection> connection, void* found);
    [[nodiscard]] Result<void> done(int result, std::string_view what) const;

    std::shared_ptr<Connection> connection_;
    std::shared_ptr<void> domain_;  ///< goes before the connection
    std::string name_, uuid_;
};

}  // namespace gc::libvirt
