// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/proxy_source.h"

#include "util/poll.h"

#include <array>
#include <unistd.h>

namespace gc::migrate {
namespace {

Result<void> await_libvirt(int listener, int cancelled, std::chrono::milliseconds limit) {
    std::array<pollfd, 2> waits{{{listener, POLLIN, 0}, {cancelled, POLLIN, 0}}};
    GC_TRY(const bool came,
           poll_until(waits, limit.count() == 0 ? Deadline::never() : Deadline(limit)));
    if (!came)
        return fail(ErrorKind::unsupported, "libvirt began no migration within {} ms",
                    limit.count());
    if (waits[1].revents != 0)
        return fail(ErrorKind::cancelled, "interrupted before a migration began");
    return {};
}

}  // namespace

Result<std::unique_ptr<ProxySource>>
ProxySource::open(const LibvirtOptions& options, int cancelled,
                  const std::function<void(const std::string& uri)>& waiting) {
    GC_TRY(Vm vm, find(options));
    GC_TRY(Parts parts, parts_of(std::move(vm)));
    const pid_t qemu = parts.pid;
    auto source = std::unique_ptr<ProxySource>(new ProxySource(std::move(parts), options));
    GC_CHECK(source->listen(options.proxy->socket));
    GC_CHECK(source->check());
    waiting(source->uri());
    GC_CHECK(await_libvirt(source->listener(), cancelled, options.proxy->wait));
    GC_TRY(source->stream_, source->accept_stream());
    GC_TRY(const pid_t now, source->vm().qemu());
    if (now != qemu)
        return fail(ErrorKind::unsupported,
                    "'{}' was started again meanwhile; type the command again", options.domain);
    return source;
}

Result<UniqueFd> ProxySource::start(Pace /*pace*/) {
    return std::move(stream_);
}

bool ProxySource::completed_by_manager(Deadline deadline) const {
    return moved(deadline);
}

Result<void> ProxySource::finish(transfer::DataPlane& data, bool /*converged*/) {
    const bool done = moved(confirm_timeout);
    data.close_source();
    return done ? Result<void>{} : Unexpected(not_completed("its QEMU is still there"));
}

Result<void> ProxySource::take_back(transfer::DataPlane* data, bool /*switched_over*/) {
    // The end of its stream makes QEMU give up, and libvirt with it.
    if (data != nullptr)
        data->close_source();
    stream_.reset();
    return check_taken_back();
}

}  // namespace gc::migrate
