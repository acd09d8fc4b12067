// SPDX-License-Identifier: GPL-2.0-or-later
#include "tls/credentials.h"

#include "tls/certificates.h"
#include "tls/gnutls.h"
#include "util/whole_file.h"

#include <gnutls/crypto.h>

namespace gc::tls {
namespace {

/// The longest identity that GnuTLS takes (MAX_USERNAME_SIZE).
constexpr std::size_t max_identity = 128;
/// Shorter keys can be guessed from a recorded handshake.
constexpr std::size_t min_key = 16;

Result<Secret> parse_key(std::string_view hex, const std::string& file, std::size_t line) {
    const gnutls_datum_t text = datum_of(hex);
    std::vector<std::byte> bytes(hex.size() / 2);
    std::size_t size = bytes.size();
    const bool valid = hex.size() % 2 == 0 && gnutls_hex_decode(&text, bytes.data(), &size) >= 0;
    if (!valid || size != bytes.size())
        return fail(ErrorKind::unsupported,
                    "{}:{}: invalid key (expected IDENTITY:KEY with a key in hexadecimal, as "
                    "psktool(1) writes it)",
                    file, line);
    if (size < min_key)
        return fail(ErrorKind::unsupported, "{}:{}: the key has {} bytes (expected at least {})",
                    file, line, size, min_key);
    Secret key(bytes);
    gnutls_memset(bytes.data(), 0, bytes.size());
    return key;
}

/// Lines of IDENTITY:KEY, as QEMU and psktool(1) have them. The identity ends at the last colon.
Result<std::vector<PskEntry>> parse_keys(std::string_view text, const std::string& file) {
    std::vector<PskEntry> entries;
    for (std::size_t number = 1; !text.empty(); ++number) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        std::string_view line = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        while (!line.empty() && (line.back() == '\r' || line.back() == ' '))
            line.remove_suffix(1);
        if (line.empty())
            continue;
        const std::size_t colon = line.rfind(':');
        if (colon == 0 || colon == std::string_view::npos || colon > max_identity)
            return fail(ErrorKind::unsupported,
                        "{}:{}: expected IDENTITY:KEY, as psktool(1) writes it", file, number);
        GC_TRY(Secret key, parse_key(line.substr(colon + 1), file, number));
        entries.push_back({std::string(line.substr(0, colon)), std::move(key)});
    }
    if (entries.empty())
        return fail(ErrorKind::unsupported, "{}: contains no key (make one: psktool -u qemu -p {})",
                    file, file);
    return entries;
}

Result<std::vector<PskEntry>> load_keys(const Options& options, Role role) {
    auto content = read_whole_file(options.psk_file);
    if (!content)
        return fail(ErrorKind::unsupported,
                    "TLS pre-shared keys: {} (make one: psktool -u qemu -p {})",
                    content.error().message, options.psk_file);
    std::string text = std::move(*content);
    auto entries = parse_keys(text, options.psk_file);
    gnutls_memset(text.data(), 0, text.size());
    if (!entries || role == Role::server)
        return entries;
    const std::string identity = options.psk_identity.empty() ? "qemu" : options.psk_identity;
    for (PskEntry& entry : *entries) {
        if (entry.identity == identity) {
            std::vector<PskEntry> own;
            own.push_back(std::move(entry));
            return own;
        }
    }
    return fail(ErrorKind::unsupported,
                "{}: contains no key of '{}' (make one: psktool -u {} -p {})", options.psk_file,
                identity, identity, options.psk_file);
}

Result<std::shared_ptr<CredentialsState>> load_psk(const Options& options, Role role) {
    auto state = std::make_shared<CredentialsState>();
    GC_TRY(state->psk, load_keys(options, role));
    state->source = options.psk_file;
    state->description = fmt::format("pre-shared keys in {}", options.psk_file);
    return state;
}

Result<std::shared_ptr<CredentialsState>> load_x509(const Options& options, Role role) {
    GC_TRY(const std::string directory, find_directory(options.creds_dir));
    const CertificateFiles files = find_files(directory, role);
    GC_TRY(LoadedCertificates loaded, load_certificates(files, role));
    auto state = std::make_shared<CredentialsState>();
    state->x509 = std::move(loaded.credentials);
    state->source = files.ca;
    state->hostname = options.hostname;
    state->authz = options.authz;
    state->description = fmt::format("certificate {} in {}", loaded.subject, directory);
    state->valid_until = loaded.valid_until;
    return state;
}

}  // namespace

Credentials::Credentials(std::shared_ptr<const CredentialsState> state)
    : state_(std::move(state)) {}

Result<Credentials> Credentials::load(const Options& options, Role role) {
    if (options.psk_file.empty()) {
        GC_TRY(auto state, load_x509(options, role));
        return Credentials(std::move(state));
    }
    if (!options.creds_dir.empty() || !options.authz.empty() || !options.hostname.empty())
        return fail(ErrorKind::usage, "--tls-psk excludes --tls-creds, --tls-authz and "
                                      "--tls-hostname: those are about certificates");
    GC_TRY(auto state, load_psk(options, role));
    return Credentials(std::move(state));
}

Result<Credentials> Credentials::one_time(std::string identity, const Key& key) {
    if (identity.empty() || identity.size() > max_identity)
        return fail(ErrorKind::usage, "invalid PSK identity '{}' (expected 1 to {} bytes)",
                    identity, max_identity);
    auto state = std::make_shared<CredentialsState>();
    state->description = fmt::format("one-time key '{}'", identity);
    state->psk.push_back({std::move(identity), Secret(key)});
    return Credentials(std::move(state));
}

bool Credentials::uses_psk() const {
    return state_->x509 == nullptr;
}
const std::string& Credentials::describe() const {
    return state_->description;
}
std::optional<std::time_t> Credentials::valid_until() const {
    return state_->valid_until;
}

bool matches(std::string_view pattern, std::string_view name) {
    // Greedy, with one place to come back to: the last '*'.
    std::size_t p = 0, n = 0, star = std::string_view::npos, resume = 0;
    while (n < name.size()) {
        if (p < pattern.size() && pattern[p] == '*') {
            star = p++;
            resume = n;
        } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n])) {
            ++p;
            ++n;
        } else if (star != std::string_view::npos) {
            p = star + 1;
            n = ++resume;
        } else {
            return false;
        }
    }
    return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

Result<Key> random_key() {
    Key key{};
    if (const int code = gnutls_rnd(GNUTLS_RND_KEY, key.data(), key.size()); code < 0)
        return fail(ErrorKind::io, "random key: {}", gnutls_strerror(code));
    return key;
}

}  // namespace gc::tls
