// SPDX-License-Identifier: GPL-2.0-or-later
// A source QEMU that gcctl drives itself, by QMP.
#pragma once

#include "migrate/source_qemu.h"
#include "qmp/migration.h"
#include "qmp/qemu_process.h"

#include <memory>

namespace gc::migrate {

class QmpSource final : public SourceQemu {
  public:
    /// Connects, and checks what SourceQemu checks and QEMU's capabilities. Changes nothing.
    /// Errors: io, unsupported.
    /// @param to_be_killed whether finish() kills QEMU; else it lets its migration complete
    static Result<std::unique_ptr<QmpSource>> open(const std::string& qmp_path, bool to_be_killed);

    [[nodiscard]] bool managed() const override { return false; }
    void set_id(const std::string& /*id*/) override {}
    /// Sets capabilities and parameters, too.
    Result<UniqueFd> start(Pace pace) override;
    Result<PrecopyProgress> precopy_progress() override;
    Result<void> hold() override;
    [[nodiscard]] std::uint64_t max_in_flight() const override;
    /// The VM is stopped as by a user, because QEMU would let it run again, if it were stopped by
    /// its migration, when that migration fails: from 8.2 on also after all memory was sent
    /// (migration_completion() and migration_iteration_finish() in migration/migration.c), when it
    /// may run at the destination.
    Result<bool> switch_over(transfer::DataPlane& data) override;

    Result<std::optional<SourceNews>> next_news(std::chrono::milliseconds timeout) override;
    [[nodiscard]] bool has_news() const override;
    [[nodiscard]] int fd() const override;
    Result<bool> stopped_for_migration() override;

    Result<void> finish(transfer::DataPlane& data, bool converged) override;
    Result<void> take_back(transfer::DataPlane* data, bool switched_over) override;
    [[nodiscard]] std::string how_to_take_back(bool switched_over) const override;
    [[nodiscard]] std::string how_to_continue() override;

    /// What start() changes, as open() found it.
    [[nodiscard]] const qmp::Settings& settings_before() const { return before_; }

  private:
    QmpSource(qmp::Client qmp, pid_t pid, std::string path)
        : SourceQemu(std::move(qmp), pid), path_(std::move(path)) {}

    Result<void> check_capabilities();
    [[nodiscard]] bool has_huge_pages() const;
    /// Lets a held QEMU send at once what is left of the huge page that it is sending.
    Result<void> end_huge_page();
    /// Lets QEMU's migration complete.
    Result<void> complete(transfer::DataPlane& data, bool converged);
    /// Kills QEMU. Errors: io (it is still there).
    Result<void> kill() const;

    std::string path_;
    std::optional<qmp::QemuProcess> process_;  ///< if it is to be killed
    qmp::Settings before_;
};

}  // namespace gc::migrate
