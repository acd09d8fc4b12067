// SPDX-License-Identifier: GPL-2.0-or-later
// A destination QEMU that gcctl drives itself, by QMP.
#pragma once

#include "qmp/qemu_process.h"
#include "receive/destination_qemu.h"
#include "util/private_socket.h"

#include <memory>

namespace gc::receive {

/// A QEMU started with `-incoming defer`, prepared for post-copy and told not to run by itself:
/// when it has loaded the device state, it stays paused until resume(). That makes switch-over a
/// two-phase commit: after any failure before resume(), the VM can safely continue at the source.
class QmpDestination final : public DestinationQemu {
  public:
    /// Errors: io, unsupported (QEMU is not waiting for a migration, or this host has no
    /// post-copy).
    static Result<std::unique_ptr<QmpDestination>> prepare(const std::string& qmp_path);

    qmp::Client* monitor() override { return &qmp_; }
    [[nodiscard]] std::string version() const override { return qmp_.version().text(); }
    [[nodiscard]] bool has_preempt() const override { return preempt_; }

    Result<pid_t> pid() override { return qmp_.peer_pid(); }
    Result<std::optional<Guardian>> guard() override;
    Result<void> expect(const std::string& /*id*/) override { return {}; }
    Result<void> listen() override;
    Result<UniqueFd> connect() override;
    void connected() override { directory_.reset(); }
    void saw_return_path(std::span<const std::byte> /*bytes*/) override {}

    Result<std::optional<DestinationNews>> next_news() override;
    [[nodiscard]] bool has_news() override { return qmp_.has_event(); }
    [[nodiscard]] int fd() override { return qmp_.fd(); }
    std::string error() override;
    [[nodiscard]] const qmp::ErrorOutput& output() const override { return output_; }
    std::optional<report::QemuPostcopyReport> postcopy_figures() override;
    bool hangs() override;

    Result<void> resume() override;
    /// Ends QEMU by QMP, or by SIGKILL if its main loop is waiting for a page that will never come.
    Result<void> end() override;
    [[nodiscard]] std::string how_to_continue() const override;

  private:
    QmpDestination(std::string path, qmp::Client qmp, std::optional<qmp::QemuProcess> process,
                   bool preempt)
        : path_(std::move(path)), qmp_(std::move(qmp)), process_(std::move(process)),
          output_(qmp::ErrorOutput::of(qmp_)), preempt_(preempt) {}

    /// What the guardian does, in a process that has none of this one's connections.
    /// @return its exit status
    [[nodiscard]] int end_orphan() const;

    std::string path_;
    qmp::Client qmp_;
    std::optional<qmp::QemuProcess> process_;
    qmp::ErrorOutput output_;
    bool preempt_;
    std::optional<PrivateDirectory> directory_;  ///< holds the incoming socket
};

}  // namespace gc::receive
