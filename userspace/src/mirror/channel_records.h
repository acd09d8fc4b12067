// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "mirror/record.h"
#include "peer/channel.h"

#include <functional>

namespace gc::mirror {

/// Takes the records that a channel has, without waiting, and not for ever: others have to be
/// served, too.
/// @return whether more may come. Errors: protocol, those of the channel and of `take`.
Result<bool> take_records(peer::Channel& from, RecordReader& reader,
                          const std::function<Result<void>(const Record&)>& take);

}  // namespace gc::mirror
