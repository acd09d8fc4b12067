// SPDX-License-Identifier: GPL-2.0-or-later
#include "peer/channel_keys.h"

#include "peer/fields.h"

namespace gc::peer {

std::string key_identity(const Token& token, ChannelId channel) {
    return fmt::format("{}/{}", hex(token), name(channel));
}

Result<ChannelKeys> ChannelKeys::of(const tls::Session& control) {
    ChannelKeys keys;
    for (const ChannelId channel : channel_ids) {
        GC_TRY(keys.keys_[static_cast<std::size_t>(channel)],
               control.exporter("EXPORTER-guidecopy-channel", name(channel)));
    }
    return keys;
}

}  // namespace gc::peer
