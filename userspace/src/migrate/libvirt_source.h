// SPDX-License-Identifier: GPL-2.0-or-later
// A source QEMU that libvirt drives: gcctl calls libvirt, and owns the socket that QEMU migrates
// to.
//
// libvirt's own rules (9.0): it sets QEMU's capabilities and parameters; it lets the destination
// run as soon as that has the whole package; it ends the source QEMU when the destination is
// complete. A source QEMU that becomes "completed" earlier is destroyed with the VM in it, so it is
// never told that everything has arrived, and its socket stays open until libvirt has ended it.
#pragma once

#include "libvirt/migration_job.h"
#include "libvirt/migration_socket.h"
#include "migrate/options.h"
#include "migrate/source_qemu.h"
#include "util/mailbox.h"

#include <memory>

namespace gc::migrate {

class LibvirtSource : public SourceQemu {
  public:
    /// Errors: io, unsupported.
    static Result<std::unique_ptr<LibvirtSource>> open(const LibvirtOptions& options);

    [[nodiscard]] bool managed() const override { return true; }
    void set_id(const std::string& id) override { id_ = id; }
    /// Nothing was touched if that fails.
    Result<UniqueFd> start(Pace pace) override;
    Result<PrecopyProgress> precopy_progress() override;
    Result<void> hold() override;
    [[nodiscard]] transfer::PreemptSocket preempt() const override {
        return {listener(), [this] { return accept_stream(); }};
    }
    [[nodiscard]] std::uint64_t max_in_flight() const override;
    Result<bool> switch_over(transfer::DataPlane& data) override;

    Result<std::optional<SourceNews>> next_news(std::chrono::milliseconds timeout) override;
    [[nodiscard]] bool has_news() const override { return false; }
    [[nodiscard]] int fd() const override { return told_->news.fd(); }
    Result<bool> stopped_for_migration() override;
    [[nodiscard]] bool completed_by_manager(Deadline deadline) const override;

    /// Waits for libvirt, which ends QEMU. Errors: needs_operator.
    Result<void> finish(transfer::DataPlane& data, bool converged) override;
    Result<void> take_back(transfer::DataPlane* data, bool switched_over) override;
    [[nodiscard]] std::string how_to_take_back(bool switched_over) const override;
    [[nodiscard]] std::string how_to_continue() override;
    [[nodiscard]] std::string domain() const override { return domain_.name(); }
    [[nodiscard]] std::string finish_line() const override;

  protected:
    /// For libvirt to learn from the destination that everything is there.
    static constexpr std::chrono::seconds confirm_timeout{120};

    struct News {
        SourceNews news;
        bool by_migration = false;
    };
    /// What libvirt tells, in threads of its own.
    struct Told {
        Told(Waker for_news, Waker for_moved)
            : news(std::move(for_news)), moved(std::move(for_moved)) {}

        Mailbox<News> news;
        Waker moved;  ///< signalled once the VM has moved: libvirt has ended its QEMU here
    };
    /// A running VM, and how to ask for it.
    struct Vm {
        std::shared_ptr<libvirt::Connection> connection;
        libvirt::Domain domain;
    };
    static Result<Vm> find(const LibvirtOptions& options);
    struct Parts {
        Vm vm;
        pid_t pid;
        qmp::Client qmp;
        std::shared_ptr<Told> told;
    };
    /// Asks QEMU who it is, and begins to listen to libvirt.
    static Result<Parts> parts_of(Vm vm);
    LibvirtSource(Parts parts, LibvirtOptions options)
        : SourceQemu(std::move(parts.qmp), parts.pid), connection_(std::move(parts.vm.connection)),
          domain_(std::move(parts.vm.domain)), options_(std::move(options)),
          told_(std::move(parts.told)) {}

    /// Makes the migration's socket, to which libvirtd and the VM's QEMU can connect. It stays
    /// open.
    /// @param name as for MigrationSocket::make()
    Result<void> listen(const std::string& name);
    [[nodiscard]] int listener() const { return listener_.get(); }
    /// After listen(): what libvirt is told of it.
    [[nodiscard]] std::string uri() const { return socket_->uri(domain_.name()); }
    /// Accepts the connection of libvirtd, which connects for QEMU, or of QEMU itself. Another
    /// QEMU of its user is refused.
    [[nodiscard]] Result<UniqueFd> accept_stream() const;
    /// After the VM's stream was closed: whether it runs on here, as if nothing had happened.
    Result<void> check_taken_back() const;
    [[nodiscard]] Error not_completed(std::string_view why) const;

    const libvirt::Domain& vm() const { return domain_; }
    [[nodiscard]] bool moved(Deadline deadline) const;

  private:
    [[nodiscard]] Result<UniqueFd> accept() const;

    std::shared_ptr<libvirt::Connection> connection_;
    libvirt::Domain domain_;
    LibvirtOptions options_;
    std::string id_;
    std::shared_ptr<Told> told_;
    std::optional<libvirt::MigrationSocket> socket_;
    UniqueFd listener_;  ///< stays open for preempt()
    std::unique_ptr<libvirt::MigrationJob> job_;
    std::optional<Deadline> switch_over_by_;
    bool by_migration_ = false;  ///< the last news
};

}  // namespace gc::migrate
