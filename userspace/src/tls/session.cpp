// SPDX-License-Identifier: GPL-2.0-or-later
#include "tls/session.h"

#include "tls/kernel_tls.h"
#include "tls/session_state.h"
#include "util/poll.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

namespace gc::tls {
namespace {

/// How often the estimated number of records is compared with the kernel's.
constexpr std::uint64_t compare_interval = 1U << 16;

bool must_wait(ssize_t code) {
    return code == GNUTLS_E_AGAIN || code == GNUTLS_E_INTERRUPTED;
}

Result<void> wait_for(int fd, short events) {
    GC_CHECK(wait_for_events(fd, events, Deadline::never()));
    return {};
}

void consume(std::span<iovec>& parts, std::size_t count) {
    while (!parts.empty() && count >= parts.front().iov_len) {
        count -= parts.front().iov_len;
        parts = parts.subspan(1);
    }
    if (!parts.empty()) {
        parts.front().iov_base = static_cast<std::byte*>(parts.front().iov_base) + count;
        parts.front().iov_len -= count;
    }
}

Unexpected write_failed(const SessionState& state, int code) {
    Error error{ErrorKind::io, fmt::format("TLS write: {}", error_text(state, code)),
                state.transport_error};
    return Unexpected(std::move(error));
}

bool is_pending(const SessionState& state) {
    return gnutls_record_check_pending(state.handle.get()) > 0 || holds_record(state);
}

// Records that GnuTLS makes.

/// Changes the sending key once it has protected as many records as it may. The peer is not asked
/// to change its own, which it does by itself. @return what GnuTLS returns
int change_key_in_time(SessionState& state) {
    if (state.sent < state.options.max_records)
        return 0;
    const int code = gnutls_session_key_update(state.handle.get(), 0);
    if (code == 0)
        state.sent = 0;
    return code;
}

Result<void> write_record(SessionState& state, std::span<const std::byte> bytes) {
    for (;;) {
        ssize_t code = 0;
        {
            const std::lock_guard lock(state.mutex);
            code = change_key_in_time(state);
            if (code == 0)
                code = gnutls_record_send(state.handle.get(), bytes.data(), bytes.size());
            if (code >= 0)
                ++state.sent;
            else if (!must_wait(code))
                return write_failed(state, static_cast<int>(code));
        }
        if (code >= 0 && static_cast<std::size_t>(code) == bytes.size())
            return {};
        if (code >= 0)
            bytes = bytes.subspan(static_cast<std::size_t>(code));
        else
            GC_CHECK(wait_for(state.fd, POLLOUT));
    }
}

/// Sends what waits in `record`.
Result<void> flush(SessionState& state) {
    const std::size_t size = std::exchange(state.filled, 0);
    return size == 0 ? Result<void>() : write_record(state, std::span(state.record).first(size));
}

Result<void> write_records(SessionState& state, std::span<iovec> parts, bool more) {
    while (!parts.empty()) {
        const auto* data = static_cast<const std::byte*>(parts.front().iov_base);
        const std::size_t size = parts.front().iov_len;
        // A part that fills a record needs no copy.
        if (state.filled == 0 && size >= max_record) {
            GC_CHECK(write_record(state, {data, max_record}));
            consume(parts, max_record);
            continue;
        }
        const std::size_t count = std::min(size, max_record - state.filled);
        std::copy_n(data, count, state.record.begin() + static_cast<std::ptrdiff_t>(state.filled));
        state.filled += count;
        consume(parts, count);
        if (state.filled == max_record)
            GC_CHECK(flush(state));
    }
    return more ? Result<void>() : flush(state);
}

Result<void> send_file_in_records(SessionState& state, int file, std::uint64_t offset,
                                  std::size_t size) {
    while (size > 0) {
        const auto room = std::span(state.record).subspan(state.filled);
        const ssize_t got =
            ::pread(file, room.data(), std::min(size, room.size()), static_cast<off_t>(offset));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail_errno(errno, "read the file to send");
        if (got == 0)
            return fail(ErrorKind::io, "send_file: the file ends at byte {}", offset);
        const auto count = static_cast<std::size_t>(got);
        state.filled += count;
        offset += count;
        size -= count;
        if (state.filled == max_record || size == 0)
            GC_CHECK(flush(state));
    }
    return {};
}

// Records that the kernel makes.

bool is_limited(const SessionState& state) {
    return state.kernel_sends &&
           gnutls_cipher_get(state.handle.get()) != GNUTLS_CIPHER_CHACHA20_POLY1305;
}

/// Counts records before they are sent. Errors: io, if the key may not protect that many.
Result<void> count_records(SessionState& state, std::uint64_t count) {
    if (!is_limited(state))
        return {};
    state.sent += count;
    if (state.sent >= state.compare_at) {
        // What was counted is an estimate: the kernel may have ended records early.
        state.sent =
            std::max(state.sent.load(), records_sent_by_kernel(state.fd).value_or(0) + count);
        state.compare_at = state.sent + compare_interval;
    }
    if (state.sent > state.options.max_records)
        return fail(
            ErrorKind::io,
            "TLS write: the key has protected {} records, as many as AES-GCM allows (RFC 8446, "
            "section 5.5), and the kernel cannot change it",
            state.options.max_records);
    return {};
}

Result<void> send_file_by_kernel(SessionState& state, int file, std::uint64_t offset,
                                 std::size_t size) {
    for (auto at = static_cast<off_t>(offset); size > 0;) {
        // sendfile(2) passes 64 KiB at a time to the socket, each of which may end a record early.
        GC_CHECK(count_records(state, size / max_record + size / (4 * max_record) + 1));
        const ssize_t sent = ::sendfile(state.fd, file, &at, size);
        if (sent > 0)
            size -= static_cast<std::size_t>(sent);
        else if (sent == 0)
            return fail(ErrorKind::io, "send_file: the file ends at byte {}", at);
        else if (errno == EAGAIN)
            GC_CHECK(wait_for(state.fd, POLLOUT));
        else if (errno != EINTR)
            return fail_errno(errno, "TLS sendfile");
    }
    return {};
}

Result<void> write_by_kernel(SessionState& state, std::span<iovec> parts, bool more) {
    while (!parts.empty()) {
        msghdr message{};
        message.msg_iov = parts.data();
        message.msg_iovlen = std::min<std::size_t>(parts.size(), IOV_MAX);
        std::size_t size = 0;
        for (const iovec& part : parts.first(message.msg_iovlen))
            size += part.iov_len;
        GC_CHECK(count_records(state, size / max_record + 1));
        const ssize_t sent = ::sendmsg(state.fd, &message, MSG_NOSIGNAL | (more ? MSG_MORE : 0));
        if (sent >= 0)
            consume(parts, static_cast<std::size_t>(sent));
        else if (errno == EAGAIN)
            GC_CHECK(wait_for(state.fd, POLLOUT));
        else if (errno != EINTR)
            return fail_errno(errno, "TLS write");
    }
    return {};
}

}  // namespace

Session::Session(std::unique_ptr<SessionState> state) : state_(std::move(state)) {}
Session::Session(Session&& other) noexcept = default;
Session& Session::operator=(Session&& other) noexcept = default;
Session::~Session() = default;

Result<Session> Session::client(int fd, const Credentials& credentials, const std::string& host,
                                Deadline deadline, const SessionOptions& options) {
    auto state = std::make_unique<SessionState>(fd, Role::client, credentials.state_, options);
    const std::string& expected = credentials.state_->hostname;
    state->host = expected.empty() ? host : expected;
    GC_CHECK(shake_hands(*state, deadline));
    return Session(std::move(state));
}

Result<Session> Session::server(int fd, const Credentials& credentials, PskLookup lookup,
                                Deadline deadline, const SessionOptions& options) {
    auto state = std::make_unique<SessionState>(fd, Role::server, credentials.state_, options);
    state->lookup = std::move(lookup);
    GC_CHECK(shake_hands(*state, deadline));
    return Session(std::move(state));
}

Result<std::optional<std::size_t>> Session::try_read(std::span<std::byte> into) {
    SessionState& state = *state_;
    std::size_t have = 0;
    while (have < into.size()) {
        ssize_t code = std::exchange(state.read_error, 0);
        bool pending = false, more = true;
        if (code == 0) {
            const std::lock_guard lock(state.mutex);
            code = gnutls_record_recv(state.handle.get(), into.data() + have, into.size() - have);
            pending = is_pending(state);
            more = pending || !state.drained;
        }
        if (code > 0) {
            have += static_cast<std::size_t>(code);
            if (!more)
                break;
            continue;
        }
        // After a new key, too, GnuTLS says that it must wait, whatever is there.
        if (code == GNUTLS_E_INTERRUPTED || code == GNUTLS_E_WARNING_ALERT_RECEIVED ||
            (code == GNUTLS_E_AGAIN && pending))
            continue;
        if (code == 0 || (must_wait(code) && have > 0))
            break;
        if (must_wait(code))
            return std::nullopt;
        if (have > 0) {
            state.read_error = static_cast<int>(code);  // after the bytes that are good
            break;
        }
        const ErrorKind kind = code == GNUTLS_E_PULL_ERROR || code == GNUTLS_E_PREMATURE_TERMINATION
                                   ? ErrorKind::io
                                   : ErrorKind::protocol;
        Error error{kind, fmt::format("TLS read: {}", error_text(state, static_cast<int>(code))),
                    state.transport_error};
        return Unexpected(std::move(error));
    }
    return have;
}

Result<std::size_t> Session::read_some(std::span<std::byte> into) {
    for (;;) {
        GC_TRY(const auto got, try_read(into));
        if (got)
            return *got;
        GC_CHECK(wait_for(state_->fd, POLLIN));
    }
}

bool Session::pending() const {
    const std::lock_guard lock(state_->mutex);
    return is_pending(*state_);
}

Result<void> Session::write(std::span<iovec> parts, bool more) {
    const std::lock_guard writer(state_->writer);
    return state_->kernel_sends ? write_by_kernel(*state_, parts, more)
                                : write_records(*state_, parts, more);
}

Result<void> Session::write(std::span<const std::byte> bytes) {
    iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
    return write(std::span(&part, 1));
}

Result<void> Session::send_file(int file, std::uint64_t offset, std::size_t size) {
    const std::lock_guard writer(state_->writer);
    return state_->kernel_sends ? send_file_by_kernel(*state_, file, offset, size)
                                : send_file_in_records(*state_, file, offset, size);
}

void Session::end(Deadline deadline) {
    SessionState& state = *state_;
    const std::unique_lock writer(state.writer, std::try_to_lock);
    if (!writer)
        return;
    if (state.kernel_sends) {
        (void)send_close_notify(state.fd, deadline);
        return;
    }
    for (;;) {
        int code = 0;
        {
            const std::lock_guard lock(state.mutex);
            code = gnutls_bye(state.handle.get(), GNUTLS_SHUT_WR);
        }
        if (!must_wait(code))
            return;
        const auto ready = wait_for_events(state.fd, POLLOUT, deadline);
        if (!ready || !*ready)
            return;
    }
}

Result<Key> Session::exporter(std::string_view label, std::string_view context) const {
    Key key{};
    const std::lock_guard lock(state_->mutex);
    const int code =
        gnutls_prf_rfc5705(state_->handle.get(), label.size(), label.data(), context.size(),
                           context.data(), key.size(), reinterpret_cast<char*>(key.data()));
    if (code < 0)
        return fail(ErrorKind::io, "TLS exporter: {}", gnutls_strerror(code));
    return key;
}

const std::string& Session::peer() const {
    return state_->peer;
}
const std::optional<std::string>& Session::psk_identity() const {
    return state_->psk_identity;
}
bool Session::kernel_sends() const {
    return state_->kernel_sends;
}

std::string Session::describe() const {
    return fmt::format("TLS 1.3, {}, encrypted {}",
                       gnutls_cipher_get_name(gnutls_cipher_get(state_->handle.get())),
                       state_->kernel_sends ? "by the kernel" : "in user space");
}

std::optional<std::uint64_t> Session::records_left() const {
    if (!is_limited(*state_))
        return std::nullopt;
    const std::uint64_t sent = state_->sent;
    return state_->options.max_records - std::min(sent, state_->options.max_records);
}

}  // namespace gc::tls
