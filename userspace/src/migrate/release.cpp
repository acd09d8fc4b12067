// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/release.h"

#include "qmp/migration.h"
#include "qmp/monitor_text.h"
#include "stream/reader.h"
#include "stream/return_path.h"
#include "transfer/read_to_end.h"

#include <map>
#include <nlohmann/json.hpp>
#include <thread>

namespace gc::migrate {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using std::chrono::milliseconds;

/// Waits until the predicate on query-migrate holds. Errors: io, with the last state.
template <typename Predicate>
Result<qmp::MigrationStatus> await_status(qmp::Client& source, Deadline deadline,
                                          std::string_view wanted, Predicate holds) {
    for (;;) {
        GC_TRY(const qmp::MigrationStatus status, qmp::query_migrate(source));
        if (holds(status))
            return status;
        if (deadline.expired())
            return fail(ErrorKind::io,
                        "expected the source QEMU's migration to become '{}', but it is still '{}'",
                        wanted, status.status);
        std::this_thread::sleep_for(1ms);
    }
}

/// RAM block name -> current number of pages.
Result<std::map<std::string, std::uint64_t>> block_pages(qmp::Client& source) {
    GC_TRY(const json reply, source.execute("x-query-ramblock"));
    GC_TRY(const auto lines, qmp::parse_ram_blocks(reply.value("human-readable-text", "")));
    std::map<std::string, std::uint64_t> pages;
    for (const qmp::RamBlockLine& line : lines)
        pages[line.name] = line.used_length / 4096;
    return pages;
}

/// The answer to a recovering source: "everything was received".
Result<stream::Buffer> answer(const stream::Command& command,
                              const std::map<std::string, std::uint64_t>& pages) {
    stream::Buffer reply;
    stream::Cursor in(command.payload);
    switch (command.code) {
    case stream::CommandCode::recv_bitmap: {
        const std::string block(in.short_string());
        const auto known = pages.find(block);
        if (known == pages.end())
            return fail(ErrorKind::protocol,
                        "the source QEMU requested the bitmap of RAM block '{}', which it does not "
                        "list",
                        block);
        stream::append_all_received(reply, block, known->second);
        break;
    }
    case stream::CommandCode::postcopy_resume:
        stream::append_resume_ack(reply);
        break;
    case stream::CommandCode::ping:
        stream::append_pong(reply, in.be<std::uint32_t>());
        break;
    default:
        break;
    }
    return reply;
}

/// Acts as the destination of a recovery until the source has nothing more to send.
Result<void> play_destination(int fd, const std::map<std::string, std::uint64_t>& pages,
                              Deadline deadline) {
    stream::Reader reader(stream::Start::entry);
    BlockBuffer buffer;
    GC_CHECK(transfer::read_to_end(fd, reader, buffer, deadline,
                                   [&](const stream::Item& item) -> Result<void> {
                                       const auto* command = std::get_if<stream::Command>(&item);
                                       if (command == nullptr)
                                           return {};
                                       GC_TRY(const stream::Buffer reply, answer(*command, pages));
                                       return write_all(fd, reply);
                                   }));
    stream::Buffer shut;
    stream::append_shut(shut, 0);
    return write_all(fd, shut);
}

}  // namespace

Result<void> await_completed(qmp::Client& source, milliseconds timeout) {
    GC_CHECK(await_status(source, timeout, "completed",
                          [](const auto& status) { return status.completed(); }));
    return {};
}

Result<UniqueFd> resume_to_descriptor(qmp::Client& source) {
    return qmp::migrate_to_socket(source, true);
}

Result<void> end_as_received(qmp::Client& source, milliseconds timeout, const Resume& resume) {
    const Deadline deadline(timeout);
    GC_CHECK(await_status(source, deadline, "postcopy-paused",
                          [](const auto& s) { return s.status == "postcopy-paused"; }));
    GC_TRY(const auto pages, block_pages(source));
    qmp::send_rest(source);
    GC_TRY(const UniqueFd fd, resume(source));
    GC_CHECK(play_destination(fd.get(), pages, deadline));
    return await_completed(source, timeout);
}

Result<void> forget_completed(qmp::Client& source, milliseconds timeout) {
    // The reply need not tell of the failure, which the status does.
    (void)source.execute("migrate", {{"uri", "unix:/nonexistent/gcctl"}});
    GC_CHECK(await_status(source, timeout, "failed",
                          [](const auto& status) { return status.failed(); }));
    return {};
}

namespace {

/// One step towards an idle source. @return whether it is idle
Result<bool> end_migration(qmp::Client& source, const qmp::MigrationStatus& migration,
                           milliseconds timeout, const Resume& resume) {
    if (migration.idle())
        return true;
    if (migration.status == "postcopy-paused") {
        GC_CHECK(end_as_received(source, timeout, resume));
        return true;
    }
    // In post-copy, the closed socket leads to postcopy-paused by itself; a migration that is being
    // cancelled only needs time.
    if (!migration.status.starts_with("postcopy") && migration.status != "cancelling")
        (void)qmp::migrate_cancel(source);
    return false;
}

}  // namespace

Result<void> run_on(qmp::Client& source, bool was_running, milliseconds timeout,
                    const Resume& resume) {
    const Deadline deadline(timeout);
    for (;;) {
        GC_TRY(const qmp::MigrationStatus migration, qmp::query_migrate(source));
        GC_TRY(const bool idle, end_migration(source, migration, timeout, resume));
        if (idle) {
            GC_TRY(const qmp::RunState state, qmp::query_status(source));
            if (!was_running || state.running)
                return {};
            // QEMU refuses cont until the migration thread has ended ("not finalized yet"), and
            // while the destination still holds the lock of an image.
            auto continued = qmp::cont(source);
            if (continued || deadline.expired())
                return continued;
        } else if (deadline.expired()) {
            return fail(ErrorKind::io,
                        "expected the source QEMU's migration to end, but it is still '{}'",
                        migration.status);
        }
        std::this_thread::sleep_for(5ms);
    }
}

}  // namespace gc::migrate
