// SPDX-License-Identifier: GPL-2.0-or-later
// A connection to a libvirt daemon of QEMU. Thread-safe.
#pragma once

#include "util/error.h"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <sys/types.h>

namespace gc::libvirt {

struct GuestCpu;
struct Library;
class EventLoop;

/// The user that libvirt's QEMUs run as.
struct QemuUser {
    uid_t uid = 0;
    gid_t gid = 0;
};
/// As a host's capabilities name them, an XML document; nullopt if they do not.
[[nodiscard]] std::optional<QemuUser> parse_qemu_user(std::string_view capabilities);

/// A host's CPU as its capabilities describe it: an element of XML; empty if they have none.
[[nodiscard]] std::string parse_host_cpu(std::string_view capabilities);

/// What became of a domain.
struct DomainEvent {
    enum class What : std::uint8_t { suspended, resumed, stopped, other };
    What what = What::other;
    std::string uuid;
    bool by_migration = false;  ///< of suspended and stopped
};

class Connection {
  public:
    /// Errors: unsupported (the libraries are not installed, nobody answers, it is not QEMU's).
    static Result<std::shared_ptr<Connection>> open(const std::string& uri);
    ~Connection();
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    /// The user of QEMU. Errors: unsupported.
    [[nodiscard]] Result<QemuUser> qemu_user() const;

    struct Version {
        unsigned major = 0, minor = 0, micro = 0;
    };
    /// Of the QEMU that libvirt starts by default. Errors: io.
    [[nodiscard]] Result<Version> qemu_version() const;

    /// Memory that is free, or that the host can free, in bytes. Errors: io.
    [[nodiscard]] Result<std::uint64_t> available_memory() const;
    /// Its parse_host_cpu(). Errors: unsupported.
    [[nodiscard]] Result<std::string> host_cpu() const;
    /// Whether QEMU here can give a VM that CPU. Errors: io, also if libvirt cannot tell.
    [[nodiscard]] Result<bool> can_have_cpu(const GuestCpu& guest) const;
    /// Whether this host's CPU is at least that of another one. @param cpu its host_cpu()
    /// Errors: io, also if libvirt cannot tell.
    [[nodiscard]] Result<bool> has_cpu_of(const std::string& cpu) const;

    /// Calls the function for what becomes of any domain, in a thread of its own, until the
    /// connection is closed. Only once. Errors: io.
    Result<void> subscribe(std::function<void(const DomainEvent&)> on_event);

    [[nodiscard]] const std::string& uri() const { return uri_; }
    [[nodiscard]] const Library& library() const { return library_; }
    /// A virConnectPtr.
    [[nodiscard]] void* get() const { return connection_; }

  private:
    Connection(const Library& library, std::string uri);
    [[nodiscard]] Result<std::string> capabilities() const;

    const Library& library_;
    std::string uri_;
    std::shared_ptr<EventLoop> loop_;
    void* connection_ = nullptr;
    int subscription_ = -1;
};

}  // namespace gc::libvirt
