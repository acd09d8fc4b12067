// SPDX-License-Identifier: GPL-2.0-or-later
#include "guide/capture_choice.h"

#include "capture/session.h"
#include "guide/userfault.h"

namespace gc::guide {

Result<ChosenCapture> choose_capture(CaptureWish wish) {
    if (wish == CaptureWish::userfault)
        return ChosenCapture{report::Capture::userfault, "--capture userfault"};
    const auto module = capture::Session::probe();
    if (module)
        return ChosenCapture{report::Capture::kmod,
                             wish == CaptureWish::kmod ? "--capture kmod" : "the module is loaded"};
    if (wish == CaptureWish::kmod)
        return Unexpected(module.error());
    if (const auto userfault = Userfault::open(); !userfault)
        return fail(ErrorKind::unsupported, "{}; and without the module: {}",
                    module.error().message, userfault.error().message);
    return ChosenCapture{report::Capture::userfault, module.error().message};
}

}  // namespace gc::guide
