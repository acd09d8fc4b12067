// SPDX-License-Identifier: GPL-2.0-or-later
// A destination QEMU that libvirt starts and drives. gcctl has only its migration socket: it lets
// the VM run by giving QEMU the last byte of the device state, and knows of the end by what QEMU
// says to its source.
#pragma once

#include "libvirt/connection.h"
#include "libvirt/migration_socket.h"
#include "receive/destination_qemu.h"
#include "stream/return_path.h"
#include "util/mailbox.h"
#include "util/read_buffer.h"

#include <atomic>
#include <memory>

namespace gc::receive {

class LibvirtDestination final : public DestinationQemu {
  public:
    /// Errors: io, unsupported (libvirt's QEMUs have no post-copy on this host).
    /// @param socket the name of a migration socket that others tell libvirt of; empty for none
    static Result<std::unique_ptr<LibvirtDestination>> prepare(const std::string& uri,
                                                               const std::string& socket);

    qmp::Client* monitor() override { return nullptr; }
    [[nodiscard]] std::string version() const override { return version_; }
    /// Nothing is sent there, see connected().
    [[nodiscard]] bool has_preempt() const override { return false; }

    Result<pid_t> pid() override { return pid_; }
    [[nodiscard]] std::string domain() const override { return uuid_; }
    Result<std::optional<Guardian>> guard() override { return std::nullopt; }
    /// Makes the place for the socket that libvirt's QEMU will listen on.
    Result<void> expect(const std::string& id) override;
    Result<void> listen() override { return {}; }
    Result<UniqueFd> connect() override;
    void connected() override;
    void saw_return_path(std::span<const std::byte> bytes) override;

    Result<std::optional<DestinationNews>> next_news() override;
    [[nodiscard]] bool has_news() override { return false; }
    [[nodiscard]] int fd() override { return news_->fd(); }
    std::string error() override { return {}; }
    [[nodiscard]] const qmp::ErrorOutput& output() const override { return output_; }
    std::optional<report::QemuPostcopyReport> postcopy_figures() override { return std::nullopt; }
    bool hangs() override { return false; }

    Result<void> resume() override { return {}; }
    Result<void> end() override { return {}; }
    bool ended_without_state(const ByteRelay& from_qemu) override;
    [[nodiscard]] std::string how_to_continue() const override;

  private:
    Result<libvirt::MigrationSocket::Listener> await_listener() const;
    /// Errors: io, if it is not the QEMU of a VM that is arriving.
    Result<void> check_listener(pid_t pid) const;

    /// Of one domain, or of QEMU's return path, whose domain is empty.
    struct News {
        std::string uuid;
        std::optional<DestinationNews> news;  ///< nullopt: it ended
    };
    using Mail = Mailbox<News>;

    LibvirtDestination(std::shared_ptr<libvirt::Connection> connection, libvirt::QemuUser user,
                       std::string version, std::shared_ptr<Mail> news)
        : connection_(std::move(connection)), user_(user), version_(std::move(version)),
          news_(std::move(news)) {}

    std::shared_ptr<libvirt::Connection> connection_;
    libvirt::QemuUser user_;
    std::string version_;
    std::shared_ptr<Mail> news_;  ///< shared with libvirt's thread
    /// Where libvirt's QEMU may listen.
    std::vector<libvirt::MigrationSocket> sockets_;
    std::string uuid_;         ///< of the domain, once it is connected to
    qmp::ErrorOutput output_;  ///< likewise
    pid_t pid_ = -1;           ///< likewise
    UniqueFd process_;         ///< likewise, a pidfd
    UniqueFd preempt_;         ///< its second channel, without use, if it wants one
    // Of the thread that forwards the return path.
    stream::ReturnPathReader returned_;
    ReadBuffer returned_buffer_;
    bool shut_ = false;
    std::atomic<bool> may_have_state_ = false;
};

}  // namespace gc::receive
