// SPDX-License-Identifier: GPL-2.0-or-later
#include "receive/one_time_key.h"

#include "util/hex.h"
#include "util/poll.h"
#include "util/read_buffer.h"

#include <unistd.h>

namespace gc::receive {
namespace {

using namespace std::chrono_literals;

/// A key of 64 hexadecimal digits, as the first line of standard input.
Result<tls::Key> key_from_stdin() {
    ReadBuffer buffer;
    constexpr auto timeout = 30s;
    for (const Deadline deadline(timeout);;) {
        if (const auto line = buffer.take_line()) {
            if (const auto key = from_hex<std::tuple_size_v<tls::Key>>(*line))
                return *key;
            break;
        }
        GC_TRY(const bool ready, wait_readable(STDIN_FILENO, deadline));
        GC_TRY(const std::size_t got,
               ready ? buffer.fill(STDIN_FILENO, 128) : Result<std::size_t>(0));
        if (got == 0 || buffer.bytes().size() > 128)
            break;
    }
    return fail(ErrorKind::usage, "--psk-stdin: expected a line of 64 hexadecimal digits on "
                                  "standard input");
}

}  // namespace

Result<peer::Security> security_of(const Options& options) {
    if (!options.psk_stdin)
        return peer::secure(options.security, tls::Role::server, options.listen);
    GC_TRY(const tls::Key key, key_from_stdin());
    GC_TRY(tls::Credentials credentials,
           tls::Credentials::one_time(std::string(peer::one_time_identity), key));
    return peer::Security{peer::Protection::tls, std::move(credentials)};
}

}  // namespace gc::receive
