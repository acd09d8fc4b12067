// SPDX-License-Identifier: GPL-2.0-or-later
#include "transfer/source_socket.h"

#include "util/socket.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>  // FIONREAD, which SIOCINQ is

namespace gc::transfer {

std::uint64_t SourceSocket::unread() const {
    return queued_bytes(fd_.get(), SIOCINQ);
}

Result<void> SourceSocket::write(std::span<const std::byte> bytes) {
    const std::lock_guard lock(mutex_);
    if (auto written = write_all(fd_.get(), bytes); !written)
        return wrap(std::move(written).error(), "the source QEMU's migration socket");
    return {};
}

Result<void> SourceSocket::write_unless_ended(std::span<const std::byte> bytes) {
    auto written = write(bytes);
    return !written && is_end(written.error()) ? Result<void>{} : written;
}

}  // namespace gc::transfer
