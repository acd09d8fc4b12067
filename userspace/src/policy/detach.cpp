// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/attachment.h"
#include "policy/install.h"
#include "policy/turn.h"

namespace gc::policy {
namespace {

/// @return false if the entry belongs to another namespace that still exists
Result<bool> remove_entry(const Pins::Entry& entry, bool own, bool force) {
    if (!own && netns_exists(entry.netns))
        return false;
    GC_TRY(const UniqueFd turn, take_turn(entry.device));
    GC_TRY(auto pins, Pins::open(entry));
    if (!pins)
        return true;
    GC_TRY(const bool alone, pins->try_lock(Pins::Lock::exclusive));
    if (!alone && !force)
        return fail(ErrorKind::unsupported,
                    "a migration uses the policy on {}; wait until it ends, or detach with --force "
                    "(it continues unshaped)",
                    entry.device);
    GC_TRY(const auto state, load_state(*pins));
    // A namespace can exist without a process or a mount that we can see. Its tcx link tells.
    if (!own && state && state->hook == "tcx" && in_place(*pins, *state))
        return false;
    // The index of a device in another namespace is that of a different device in ours.
    GC_CHECK(uninstall(*pins, own ? state : std::nullopt));
    return true;
}

}  // namespace

Result<void> detach(const std::string& device, bool force) {
    GC_TRY(const std::uint64_t netns, own_netns());
    GC_TRY(const auto entries, Pins::all());
    for (const Pins::Entry& entry : entries)
        if (entry.netns == netns && entry.device == device)
            return remove_entry(entry, true, force).map([](bool) {});
    return no_policy_on(device);
}

Result<std::vector<std::string>> detach_all(bool force) {
    GC_TRY(const std::uint64_t netns, own_netns());
    GC_TRY(const auto entries, Pins::all());
    std::vector<std::string> removed;
    std::optional<Error> failed;
    for (const Pins::Entry& entry : entries) {
        const auto done = remove_entry(entry, entry.netns == netns, force);
        if (done && *done)
            removed.push_back(entry.device);
        else if (!done && !failed)
            failed = done.error();
    }
    if (failed)
        return Unexpected(*failed);
    return removed;
}

}  // namespace gc::policy
