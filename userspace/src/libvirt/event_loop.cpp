// SPDX-License-Identifier: GPL-2.0-or-later
#include "libvirt/event_loop.h"

#include <mutex>

namespace gc::libvirt {

Result<std::shared_ptr<EventLoop>> EventLoop::shared(const Library& library) {
    static std::mutex mutex;
    static std::weak_ptr<EventLoop> running;
    const std::lock_guard lock(mutex);
    if (auto loop = running.lock())
        return loop;
    GC_TRY(std::shared_ptr<EventLoop> loop, start(library));
    running = loop;
    return loop;
}

Result<std::shared_ptr<EventLoop>> EventLoop::start(const Library& library) {
    // Of the whole process, and cannot be undone.
    static const int registered = library.virEventRegisterDefaultImpl();
    if (registered < 0)
        return library.failed(ErrorKind::io, "register the event loop");
    const int timer = library.virEventAddTimeout(
        -1, [](int, void*) {}, nullptr, nullptr);
    if (timer < 0)
        return library.failed(ErrorKind::io, "add a timer to the event loop");
    auto loop = std::shared_ptr<EventLoop>(new EventLoop(library, timer));
    loop->thread_ = std::thread([loop = loop.get()] {
        while (!loop->stopping_ && loop->library_.virEventRunDefaultImpl() == 0) {
        }
    });
    return loop;
}

EventLoop::~EventLoop() {
    stopping_ = true;
    library_.virEventUpdateTimeout(timer_, 0);
    thread_.join();
    library_.virEventRemoveTimeout(timer_);
}

}  // namespace gc::libvirt
