// SPDX-License-Identifier: GPL-2.0-or-later
#include "qmp/qemu_process.h"

#include "fake_monitor.h"

namespace gc::qmp {
namespace {

TEST(QemuProcess, WhoIsNoQemuIsNobodyToBeKilled) {
    FakeMonitor monitor([](FakeMonitor& m) { m.greet(); });
    const auto client = Client::from_fd(monitor.take_client_end(), std::chrono::seconds(5), "fake");
    ASSERT_TRUE(client) << client.error().message;
    const auto process = QemuProcess::open(*client);
    ASSERT_TRUE(process) << process.error().message;
    EXPECT_FALSE(process->has_value()) << "the peer is this test";
}

}  // namespace
}  // namespace gc::qmp
