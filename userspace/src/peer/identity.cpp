// SPDX-License-Identifier: GPL-2.0-or-later
#include "peer/identity.h"

#include "util/hex.h"

#include <gnutls/crypto.h>
#include <span>

namespace gc::peer {

Result<std::string> public_id(const Token& token) {
    std::array<std::byte, 32> digest{};
    if (const int error =
            gnutls_hash_fast(GNUTLS_DIG_SHA256, token.data(), token.size(), digest.data());
        error < 0)
        return fail(ErrorKind::io, "SHA-256: {}", gnutls_strerror(error));
    return hex(std::span(digest).first<8>());
}

}  // namespace gc::peer
