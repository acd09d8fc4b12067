// SPDX-License-Identifier: GPL-2.0-or-later
#include "peer/refusal.h"

#include "tls/credentials.h"

#include <gnutls/crypto.h>
#include <string.h>  // explicit_bzero

namespace gc::peer {
namespace {

Result<Digest> sha256(const Digest& bytes) {
    Digest digest{};
    if (const int error =
            gnutls_hash_fast(GNUTLS_DIG_SHA256, bytes.data(), bytes.size(), digest.data());
        error < 0)
        return fail(ErrorKind::io, "SHA-256: {}", gnutls_strerror(error));
    return digest;
}

}  // namespace

Result<Refusal> Refusal::make() {
    GC_TRY(const Digest secret, tls::random_key());
    GC_TRY(const Digest seal, sha256(secret));
    return Refusal(secret, seal);
}

Refusal::Refusal(Refusal&& other) noexcept : secret_(other.secret_), seal_(other.seal_) {
    other.destroy();
}

Refusal& Refusal::operator=(Refusal&& other) noexcept {
    if (this != &other) {
        secret_ = other.secret_;
        seal_ = other.seal_;
        other.destroy();
    }
    return *this;
}

void Refusal::destroy() {
    if (secret_)
        ::explicit_bzero(secret_->data(), secret_->size());
    secret_.reset();
}

bool opens(const std::optional<Digest>& seal, const std::optional<Digest>& proof) {
    if (!seal || !proof)
        return false;
    const auto digest = sha256(*proof);
    return digest && *digest == *seal;
}

}  // namespace gc::peer
