// SPDX-License-Identifier: GPL-2.0-or-later
// Encryption of what a socket sends by the kernel: Documentation/networking/tls.rst.
#pragma once

#include "util/deadline.h"
#include "util/error.h"

#include <cstdint>
#include <optional>

struct gnutls_session_int;

namespace gc::tls {

/// True if this kernel has the module `tls`, loaded or to be loaded. Tried on a connection to
/// itself, once per process.
bool kernel_has_tls();

/// Gives the kernel the sending keys of a session whose handshake is over and whose output is
/// flushed. From then on GnuTLS must send nothing: the kernel counts the records, and a second
/// record with the same number would reveal both.
/// @return false if the kernel has no TLS, or not this cipher; the socket then works as before
bool let_kernel_send(int fd, gnutls_session_int* session);

/// The number of records that the kernel has sent with this key; nullopt if it does not tell.
std::optional<std::uint64_t> records_sent_by_kernel(int fd);

/// Sends close_notify on a socket that the kernel encrypts.
Result<void> send_close_notify(int fd, Deadline deadline);

}  // namespace gc::tls
