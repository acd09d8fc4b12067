// SPDX-License-Identifier: GPL-2.0-or-later
// A source QEMU whose migration somebody else asks libvirt for: virsh, or a program that manages
// many hosts. They choose when it begins and when post-copy does; gcctl carries its stream.
#pragma once

#include "migrate/libvirt_source.h"

#include <functional>

namespace gc::migrate {

class ProxySource final : public LibvirtSource {
  public:
    /// Waits until libvirt begins a migration to the socket of options.proxy.
    /// @param cancelled a descriptor that is readable when the wait is to end
    /// @param waiting called with what libvirt must be told as the migration's URI
    /// Errors: cancelled, unsupported, io.
    static Result<std::unique_ptr<ProxySource>>
    open(const LibvirtOptions& options, int cancelled,
         const std::function<void(const std::string& uri)>& waiting);

    [[nodiscard]] bool chooses_switch_over() const override { return false; }
    Result<UniqueFd> start(Pace pace) override;
    Result<void> hold() override { return {}; }
    Result<bool> switch_over(transfer::DataPlane& /*data*/) override { return false; }
    [[nodiscard]] bool completed_by_manager(Deadline deadline) const override;
    Result<void> finish(transfer::DataPlane& data, bool converged) override;
    Result<void> take_back(transfer::DataPlane* data, bool switched_over) override;

  private:
    ProxySource(Parts parts, const LibvirtOptions& options)
        : LibvirtSource(std::move(parts), options) {}

    UniqueFd stream_;  ///< from libvirtd or QEMU, until start()
};

}  // namespace gc::migrate
