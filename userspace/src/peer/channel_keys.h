// SPDX-License-Identifier: GPL-2.0-or-later
// Ties the channels of a migration to the TLS session of its control channel.
#pragma once

#include "peer/hello.h"
#include "tls/session.h"

#include <array>
#include <string>

namespace gc::peer {

/// The PSK identity of a channel: "TOKEN/CHANNEL".
[[nodiscard]] std::string key_identity(const Token& token, ChannelId channel);

/// One pre-shared key for each channel, made of the secrets of the control channel's
/// session (RFC 8446, section 7.5): only its two ends know them.
class ChannelKeys {
  public:
    static Result<ChannelKeys> of(const tls::Session& control);
    [[nodiscard]] const tls::Key& key(ChannelId channel) const {
        return keys_[static_cast<std::size_t>(channel)];
    }

  private:
    std::array<tls::Key, channel_count> keys_{};
};

}  // namespace gc::peer
